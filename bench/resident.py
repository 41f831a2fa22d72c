"""The memory of a process; and of one that runs one model on one engine, without anything else loaded.

``python -m bench.resident WEIGHTS_DIR MODEL ENGINE PRECISION`` prints its own, in MB, after some pictures.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from models.cores import usable_cores
from models.device import ServingDevice
from models.pictures import Picture
from models.serving.random_numbers import normal
from models.store.catalog import Catalog, Model

SIDE = 256  # px


def resident_mb(pid: int | str) -> float:
    """The largest it ever was."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def generator(model: Model, engine: str, precision: str) -> Callable[[Picture], Picture]:
    """A model's generator on all cores of this CPU, in a precision whatever the gate says of it.

    Args:
        engine: ``torch`` or ``OpenVINO``.
        precision: ``f32`` or ``bf16``.
    """
    translator, stylist_networks, gate = _of_engine(engine)
    device = ServingDevice("cpu", threads=usable_cores())
    with ExitStack() as stack:
        stack.enter_context(patch(f"{gate}.computes_bfloat16", lambda *_: precision == "bf16"))
        stack.enter_context(patch(f"{gate}.MIN_PSNR_DB", 0.0))
        if model.card.family == "cyclegan":
            network = translator(model, device)
            return lambda shown: network(shown[np.newaxis])[0][0]
        networks = stylist_networks(model, device)
    sources = networks.prepare(sample()[np.newaxis])
    style = networks.map_latents(normal(1, networks.latent_dim)[np.newaxis])[:, 0]
    return lambda shown: networks.generate(sources, [0], style)[0][0]


def sample() -> Picture:
    ramp = np.linspace(0, 255, SIDE)
    return np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1]), axis=-1).astype(np.uint8)


def _of_engine(engine: str) -> tuple[Any, Any, str]:
    """Its two classes, and the module whose gate it passes. Loads only this engine."""
    if engine == "torch":
        from models.serving.torch_engine import TorchStylistNetworks, TorchTranslator

        return TorchTranslator, TorchStylistNetworks, "models.serving.precision"
    from models.serving.openvino_engine import OpenVINOStylistNetworks, OpenVINOTranslator

    return OpenVINOTranslator, OpenVINOStylistNetworks, "models.serving.openvino_engine"


if __name__ == "__main__":
    weights_dir, name, engine, precision = sys.argv[1:]
    run = generator(Catalog(Path(weights_dir), Path(weights_dir) / "none").get(name), engine, precision)
    for _ in range(3):
        run(sample())
    print(resident_mb("self"))
