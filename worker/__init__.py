"""Both ends of the queue. Speaks Redis and processes; knows no HTTP."""

import importlib
import sys

# Where OpenTelemetry's metrics are installed, redis-py imports them for figures of its own, which nobody here uses.
# That takes a tenth of a process's start-up time, so the import fails while redis-py loads, and works afterwards.
_METRICS = "opentelemetry.sdk.metrics"
if _METRICS not in sys.modules:
    sys.modules[_METRICS] = None  # type: ignore[assignment]
    try:
        importlib.import_module("redis")
    finally:
        del sys.modules[_METRICS]
