"""Protection of the API against web pages of other sites that a user of this machine may have open in a browser.

A browser sends a page's requests to any server that it can reach, a local one included, and says in headers that only
it can set where they come from. Other clients (curl, httpx) send no such headers and are not affected.
"""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ForeignOrigin, UnknownHost, answer
from app.settings import Settings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
EXPOSED_HEADERS = (
    "Location",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Job-Id",
    "X-Model",
    "X-Note",
    "X-Request-Id",
    "X-Seed",
)
DEFAULT_PORTS = {"http": 80, "https": 443}


def install_guards(app: FastAPI, settings: Settings) -> None:
    """Check ``Host`` and ``Origin`` before any other middleware that ``app`` has so far."""
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(OriginGuard, allowed=settings.cors_origins)
    if settings.allowed_hosts or is_loopback(settings.host):
        app.add_middleware(HostGuard, allowed=settings.allowed_hosts)


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address without brackets, is this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class HostGuard:
    """Answers 400 to requests whose ``Host`` is neither a loopback name nor an allowed one.

    This stops DNS rebinding: if attacker.example is made to resolve to 127.0.0.1, the browser takes the attacker's page
    for one of this server, and only ``Host`` shows the difference. Starlette's TrustedHostMiddleware does the same,
    but answers in plain text.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        """
        Args:
            allowed: host names in lower case without ports; a ``*`` at the start stands for anything.
        """
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if not self._is_known(host):
                detail = (
                    f"Host: {host[:200]!r} is not a name of this server. Use localhost, or have the server's operator "
                    "add the name to DOPPEL_ALLOWED_HOSTS."
                )
                await answer(UnknownHost(detail))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        parsed = _host_and_port(f"//{host}")
        if parsed is None:
            return False
        name, _ = parsed
        return is_loopback(name) or any(
            name == pattern or (pattern.startswith("*") and name.endswith(pattern[1:])) for pattern in self.allowed
        )


class OriginGuard:
    """Answers 403 to unsafe requests, and to preflights, from web pages of another origin that is not allowed.

    An origin is this server's own if its host and port are those in ``Host``. The scheme is not compared, because a
    reverse proxy may terminate TLS.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        """
        Args:
            allowed: origins as browsers send them, in lower case; ``*`` allows all.
        """
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
            if (preflight or scope["method"] not in SAFE_METHODS) and (sender := self._foreign_sender(headers)):
                detail = (
                    f"A web page of {sender} sent this {scope['method']} request; only pages of this server may. To "
                    "allow another site, its origin must be added to DOPPEL_CORS_ORIGINS."
                )
                await answer(ForeignOrigin(detail))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _foreign_sender(self, headers: Headers) -> str | None:
        """The site whose page sent the request, in words; None if it is this server, allowed, or no page at all."""
        origin = headers.get("origin")
        if "*" in self.allowed or origin in self.allowed:
            return None
        if origin is not None and not _is_same_origin(origin, headers.get("host", "")):
            return f"the origin {origin[:200]!r}"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return "another origin"
        return None


def _is_same_origin(origin: str, host: str) -> bool:
    default_port = DEFAULT_PORTS.get(origin.partition("://")[0])
    sender, receiver = _host_and_port(origin), _host_and_port(f"//{host}")
    if default_port is None or sender is None or receiver is None:
        return False
    return (sender[0], sender[1] or default_port) == (receiver[0], receiver[1] or default_port)


def _host_and_port(url: str) -> tuple[str, int | None] | None:
    """The host in lower case without brackets, and the port if it is given; None for a malformed URL."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
        return parts.hostname, parts.port
    except ValueError:
        return None
