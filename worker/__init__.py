"""Both ends of the queue. Speaks Redis and processes; knows no HTTP."""

import importlib
import sys

# redis-py imports OpenTelemetry's metrics where they are installed, for figures of its own that nobody asks for. That
# is a tenth of the time that a process takes to start. It is told that they are missing; others find them.
_METRICS = "opentelemetry.sdk.metrics"
if _METRICS not in sys.modules:
    sys.modules[_METRICS] = None  # type: ignore[assignment]
    try:
        importlib.import_module("redis")
    finally:
        del sys.modules[_METRICS]
