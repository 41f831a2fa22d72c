"""A collector of traces on loopback: takes what OpenTelemetry's exporters send over HTTP."""

import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

CLIENT, SERVER = Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER


@dataclass(frozen=True)
class Received:
    """A span as the collector got it; ids in hexadecimal, times in ms."""

    service: str
    name: str
    trace_id: str
    id: str
    parent: str
    begun: float
    ended: float
    links: list[tuple[str, str]]  # trace and span
    attributes: dict[str, object]
    failed: bool
    events: list[str]


@dataclass
class Collector:
    address: str
    spans: list[Received] = field(default_factory=list)

    def of(self, trace_id: str) -> dict[str, Received]:
        """The spans of a trace by name, of which each has one."""
        spans = [span for span in self.spans if span.trace_id == trace_id]
        assert len({span.name for span in spans}) == len(spans)
        return {span.name: span for span in spans}


def _read(body: bytes) -> Iterator[Received]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        of_process = {one.key: one.value.string_value for one in resource.resource.attributes}
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield Received(
                service=of_process["service.name"],
                name=span.name,
                trace_id=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                begun=span.start_time_unix_nano / 1e6,
                ended=span.end_time_unix_nano / 1e6,
                links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                attributes={one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes},
                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                events=[event.name for event in span.events],
            )


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that keeps what it gets."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            found.spans += _read(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
