"""ASGI middlewares for the size of bodies, for HEAD, for clients that disconnect, and for headers of all answers."""

from collections.abc import Mapping

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLarge, answer

DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"  # of what is no page: opened by itself, it loads nothing
PAGE_POLICY = "frame-ancestors 'none'"  # of a page that names no stricter one


class DeclaredLengthLimit:
    """Answers 413 if ``Content-Length`` exceeds the limit, before any of the body is read.

    FastAPI's own limit, which counts the bytes that arrive, would read as many first.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, *, of_paths: Mapping[str, int]) -> None:
        """
        Args:
            max_bytes: largest body.
            of_paths: other limits, by path.
        """
        self.app = app
        self.max_bytes = max_bytes
        self.of_paths = of_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        max_bytes = self.of_paths.get(scope.get("path", ""), self.max_bytes)
        if declared.isdigit() and int(declared) > max_bytes:
            response = answer(TooLarge(max_bytes, int(declared)), {"Connection": "close"})
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD wherever GET is answered: with the same headers and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                answered.cancel()  # an event stream would go on

        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]  # only GET knows ranges
        with anyio.CancelScope() as answered:
            await self.app({**scope, "method": "GET", "headers": headers}, receive, send_headers)


class DisconnectFilter:
    """Ignores clients that disconnect from an event stream.

    If that happens while FastAPI 0.165 writes to the stream, it raises ``BrokenResourceError`` (FastAPI discussion
    15725), and the server logs a traceback of a hundred lines.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except* anyio.BrokenResourceError:
            pass


class SafeHeaders:
    """Adds to all answers the headers that keep a browser from taking them for anything else than they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                is_page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else DATA_POLICY)
            await send(message)

        await self.app(scope, receive, send_headers)
