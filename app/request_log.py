"""ASGI middlewares that give each request an id, count it, trace it, and log it where logs are JSON."""

import logging
import re
import time
from uuid import uuid4

from fastapi.telemetry import TelemetryConfig
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import UNEXPECTED
from app.request_record import RequestRecord, begin, record_of
from models import logs
from worker.meters import REJECTIONS, REQUEST_SECONDS, REQUESTS, Meter
from worker.tracer import Tracer

HEADER = "X-Request-Id"
PROBES = ("/healthz", "/readyz", "/metrics")  # asked all the time, so they have no line in the log
NO_ROUTE = "none"
OTHER_METHOD = "other"
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

_SANE = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)

log = logging.getLogger("doppel.access")


def telemetry(tracer: Tracer) -> TelemetryConfig:
    """What FastAPI records of requests: their spans, where there is tracing. What it would count, ``/metrics`` says."""
    return {
        "tracing": tracer.enabled,
        "tracer_provider": tracer.provider,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"] in PROBES,
    }


class RequestLog:
    """To be the outermost middleware: what others answer in the application's place is counted as well.

    Args:
        tracer: which traces requests outside of this.
        lines: whether each request gets a line in the log.
    """

    def __init__(self, app: ASGIApp, meter: Meter, tracer: Tracer, *, lines: bool) -> None:
        self.app = app
        self._meter = meter
        self._tracer = tracer
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = begin(scope, _id_of(scope))
        # For the rest of this request's task, and for the server's line if it fails.
        logs.set_request(record.id, self._tracer.request(record.id))
        begun = time.perf_counter()
        status, answered_s = 0, 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered_s
            if message["type"] == "http.response.start":
                status, answered_s = message["status"], time.perf_counter() - begun
                headers = [*message.get("headers", ()), (b"x-request-id", record.id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            if not status:  # Starlette answers outside all middlewares
                status, answered_s, record.problem = 500, time.perf_counter() - begun, UNEXPECTED
            raise
        finally:
            if status:
                self._count(scope["method"], record, status, answered_s)
                if self._lines and scope["path"] not in PROBES:
                    self._write(scope, record, status, answered_s)

    def _count(self, method: str, record: RequestRecord, status: int, answered_s: float) -> None:
        route = record.route or NO_ROUTE
        self._meter.count(REQUESTS, method if method in METHODS else OTHER_METHOD, route, str(status))
        self._meter.observe(REQUEST_SECONDS, answered_s, route)
        if record.problem is not None:
            self._meter.count(REJECTIONS, str(status), record.problem)

    @staticmethod
    def _write(scope: Scope, record: RequestRecord, status: int, answered_s: float) -> None:
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round(answered_s * 1000, 1),
            "problem": record.problem,
            "key": record.key,
        }
        said = {name: value for name, value in fields.items() if value is not None}
        log.info("%s %s %d", scope["method"], scope["path"], status, extra=said)


class RouteNote:
    """Notes which route answered. It must be the innermost middleware, since only its scope names the route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            record = record_of(scope)
            if record is not None:
                record.route = getattr(scope.get("route"), "path", None)


def _id_of(scope: Scope) -> str:
    """The id that the client, or a proxy, gave the request, if it is one; else a new one."""
    given = Headers(scope=scope).get(HEADER)
    return given if given is not None and _SANE.fullmatch(given) else uuid4().hex
