"""OpenVINO, imported here and nowhere else, so that it reports to nobody; what its CPU computes in, and compiling.

Importing ``openvino`` imports its converter of other frameworks' models, which sends an event to an analytics service
if the package ``openvino_telemetry`` can be imported. Nothing here needs the converter, and it takes half the time.
"""

import sys
from functools import cache
from typing import Any, Literal

for _name in ("openvino.tools.ovc", "openvino_telemetry"):
    sys.modules[_name] = None  # type: ignore[assignment]  # makes its import fail, as if not installed

import openvino  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["Precision", "compiled", "computes_bfloat16", "openvino", "ops"]

Precision = Literal["bf16", "f32"]


@cache
def _core() -> openvino.Core:
    """The one of this process: each would keep the kernels that it generates to itself."""
    return openvino.Core()


def computes_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions. Without them bfloat16 is slower than float32."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compiled(graph: openvino.Model, precision: Precision, threads: int | None) -> openvino.CompiledModel:
    """The graph ready to run on this CPU, one picture at a time.

    Args:
        threads: None takes one for each core.
    """
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        # A pinned thread waits for its core while another process has it, although others are free.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    return _core().compile_model(graph, "CPU", properties)
