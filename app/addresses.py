"""The addresses in answers, behind the prefix under which a reverse proxy publishes the API (DOPPEL_ROOT_PATH)."""

from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

_root_path: ContextVar[str] = ContextVar("root_path", default="")


def address(path: str) -> str:
    """``path``, one of the API's own, as the client of the request in hand must ask for it."""
    return _root_path.get() + path


def use_root_path(root_path: str) -> None:
    """Let this thread's addresses be behind this prefix, outside of requests."""
    _root_path.set(root_path)


class RootPath:
    """Tells the application the prefix of its paths, whether or not the proxy has removed it from the request's.

    Behind it, as ASGI wants it, ``path`` has the prefix, and ``root_path`` says which part of it that is.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        """
        Args:
            root_path: ``/prefix``, or empty if there is none but what the HTTP server itself has been told.
        """
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        root = self.root_path or scope.get("root_path", "").rstrip("/")
        path = scope["path"]
        if path != root and not path.startswith(f"{root}/"):
            path = root + path
        token = _root_path.set(root)
        try:
            await self.app({**scope, "path": path, "root_path": root}, receive, send)
        finally:
            _root_path.reset(token)
