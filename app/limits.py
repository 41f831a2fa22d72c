"""The limit on uploads, told as every other error is."""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import TooLarge, problem_response


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
            response = problem_response(TooLarge.status, TooLarge.title, detail, {"Connection": "close"})
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)
