"""The tracer that records, by OpenTelemetry's SDK, and sends to the collector that its environment variables name."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.tracer import Attributes, Tracer

_W3C = TraceContextTextMapPropagator()
NS_PER_S = 1_000_000_000
CLOSING_S = 2.0  # at most, so that a collector that is away keeps no process from ending


class SpanTracer(Tracer):
    """Sends spans in the background, every few seconds; while the collector is away they are dropped.

    Args:
        service: what this process is called, unless the environment says otherwise.
    """

    enabled = True

    def __init__(self, service: str) -> None:
        own = {
            "service.name": service,
            "service.version": version("doppel"),
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._sdk = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._sdk.add_span_processor(BatchSpanProcessor(self._exporter))
        self.provider = self._sdk
        self._tracer = self._sdk.get_tracer("doppel", version("doppel"))

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes | None = None) -> Iterator[None]:
        with self._tracer.start_as_current_span(name, attributes=attributes):
            yield

    def request(self, request_id: str) -> str | None:
        span = get_current_span()
        span.set_attribute("doppel.request_id", request_id)
        return _traceparent(span)

    def past(
        self,
        name: str,
        begun: float,
        ended: float,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
        error: BaseException | None = None,
    ) -> str | None:
        span = self._tracer.start_span(
            name,
            context=_context(parent),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(get_current_span(_context(one)).get_span_context()) for one in links],
            start_time=int(begun * NS_PER_S),
        )
        if error is not None:
            span.record_exception(error, timestamp=int(ended * NS_PER_S))
            span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end(int(ended * NS_PER_S))
        return _traceparent(span)

    def close(self) -> None:
        closing = threading.Thread(target=self._sdk.shutdown, daemon=True, name="close-tracer")
        closing.start()
        closing.join(CLOSING_S)
        if closing.is_alive():  # it would try for half a minute
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _context(traceparent: str | None) -> Context:
    """What a ``traceparent`` names; of one that is malformed nothing."""
    return _W3C.extract({} if traceparent is None else {"traceparent": traceparent}, Context())


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span, Context()))
    return carrier.get("traceparent")
