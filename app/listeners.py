"""Listeners to server-sent events who go away."""

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send


class FarewellFilter:
    """Takes it for no error when a listener goes away.

    FastAPI 0.165 raises ``BrokenResourceError`` out of its event streams if that happens while it writes to one (its
    discussion 15725), which a server logs as a failure of the application, a hundred lines each time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except* anyio.BrokenResourceError:
            pass
