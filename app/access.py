"""Which calls need an API key, with which scope; and the middleware that asks for one before anything else is read."""

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from app.callers import NOBODY, Caller, Scope, identify
from app.errors import Forbidden, Unauthorized, answer
from app.keys import KeyRing
from app.request_record import record_of
from models.errors import DoppelError, NotFound
from worker.rates import Rates

# What tells nothing of anybody's: probes, the page's own files and the document's, and the root certificate, which is
# for whoever meets a signed picture.
OPEN = frozenset(("/", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs/openapi.json", "/verify/root"))
OPEN_FOLDERS = ("/studio/", "/static-offline-docs/")
# By the first part of the path; None: any API key will do.
SCOPES: dict[str, Scope | None] = {
    "translate": Scope.TRANSLATE,
    "style": Scope.TRANSLATE,
    "stargan": Scope.TRANSLATE,
    "verify": Scope.TRANSLATE,
    "datasets": Scope.TRAIN,
    "training": Scope.TRAIN,
    "metrics": Scope.MONITOR,
    "jobs": None,
    "status": None,
}
UNCOUNTED = ("GET", "HEAD", "OPTIONS")  # by rates: a page of models loads a sample picture of each
SMALL_BODY = 64 << 10  # bytes; a larger one is not read for a request that is refused, and its connection is closed


def is_open(path: str) -> bool:
    """Whether the call needs no API key on any server.

    Args:
        path: without the prefix of a proxy.
    """
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def needed_scope(method: str, path: str) -> Scope | None:
    """The scope that the call needs; None: any API key will do.

    Args:
        path: as above, or as the OpenAPI document has it.

    Raises:
        NotFound: no call has such a path, though its route may match: those take a line break at the end.
    """
    if not path.isprintable():
        raise NotFound("There is nothing at a path with such characters.")
    first, _, rest = path.removeprefix("/").partition("/")
    if first == "models":
        if rest.endswith("/fetch"):  # as ordering a picture from a model without weights does
            return Scope.TRANSLATE
        return Scope.TRAIN if method != "GET" or rest.endswith("/archive") else None
    return SCOPES.get(first)  # every call is there, so what is not will be answered 404


def install_key_check(app: FastAPI, ring: KeyRing | None, rates: Rates) -> None:
    """Let nobody in who has no key of the ring. Without a ring nothing is looked at."""
    if ring is not None:
        app.add_middleware(KeyCheck, ring=ring, rates=rates)


class KeyCheck:
    """ASGI middleware of a server that has keys: 401, 403 or 429 before any of the body is read."""

    def __init__(self, app: ASGIApp, ring: KeyRing, rates: Rates) -> None:
        self.app = app
        self._ring = ring
        self._rates = rates

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = Headers(scope=scope)
        if is_open(path):
            identify(scope, NOBODY)
        else:
            try:
                identify(scope, await self._admitted(scope, headers, path))
            except DoppelError as error:
                await answer(error, _closing(headers))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _admitted(self, scope: AsgiScope, headers: Headers, path: str) -> Caller:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise Unauthorized(sent=False)
        key = self._ring.find(secret.strip().encode("latin-1"))
        if key is None:
            raise Unauthorized(sent=True)
        record = record_of(scope)
        if record is not None:
            record.key = key.caller.name
        needed = needed_scope(scope["method"], path)
        if needed is not None and not key.caller.may(needed):
            raise Forbidden(f"This API key lacks the scope {needed!s}.", scope=needed)
        if key.rate is not None and scope["method"] not in UNCOUNTED:
            await self._rates.take(str(key.caller.name), key.rate)
        return key.caller


def _closing(headers: Headers) -> dict[str, str] | None:
    """Headers that have the server close the connection, if a body is under way that is not worth reading."""
    length = headers.get("content-length", "0")
    large = "transfer-encoding" in headers or not length.isdigit() or int(length) > SMALL_BODY
    return {"Connection": "close"} if large else None
