"""What every request passes through before it reaches a route."""

from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import TooLarge, answer


class DeclaredLengthLimit:
    """Refuses a body whose declared length is over the limit before any of it is read.

    FastAPI's own limit, which counts what really comes, answers such a request in plain text; this stands before it.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, *, of_paths: Mapping[str, int]) -> None:
        """
        Args:
            max_bytes: of a body.
            of_paths: other limits, by the path that a body is sent to.
        """
        self.app = app
        self.max_bytes = max_bytes
        self.of_paths = of_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        max_bytes = self.of_paths.get(scope.get("path", ""), self.max_bytes)
        if declared.isdigit() and int(declared) > max_bytes:
            detail = f"The upload has {int(declared):,} bytes; at most {max_bytes:,} are accepted."
            response = answer(TooLarge(detail), {"Connection": "close"})
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


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
