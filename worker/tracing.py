"""Tracing with OpenTelemetry: off, and nothing of it imported, unless its environment variables name a collector."""

import logging
import os
from importlib.util import find_spec

from worker.tracer import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "opentelemetry.exporter.otlp.proto.http"

log = logging.getLogger("doppel.tracing")


def tracer_of(service: str) -> Tracer:
    """The tracer of this process.

    Args:
        service: what it is called in traces, unless ``OTEL_SERVICE_NAME`` says otherwise.
    """
    endpoint = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracer()
    if not _installed():
        log.warning("%s is set, but nothing is traced: pip install 'doppel[tracing]'", endpoint)
        return Tracer()
    from worker.span_tracer import SpanTracer

    return SpanTracer(service)


def _installed() -> bool:
    try:
        return find_spec(EXPORTER) is not None
    except ModuleNotFoundError:  # not even the packages that hold it
        return False
