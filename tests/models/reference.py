"""Weights and inputs that anyone can regenerate, for comparison with numbers of the reference implementations."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent / "parity"
TAG = "parity-1/"


def facts(family: str) -> dict[str, Any]:
    """Constructor arguments, keys and shapes of each network of ``cyclegan`` or ``stargan``, and the losses.

    ``forms`` has the other forms of CycleGAN's generator.
    """
    content: dict[str, Any] = json.loads((FOLDER / f"{family}.json").read_text())
    return content


def array(family: str, name: str) -> torch.Tensor:
    """An input or output; large pictures are kept at every 4th or 8th pixel."""
    with np.load(FOLDER / f"{family}.npz") as arrays:
        return torch.from_numpy(arrays[name])


def picture(name: str, count: int, size: tuple[int, int]) -> torch.Tensor:
    """(count, 3, *size) float32 in [-1, 1], smooth and the same everywhere."""
    rng = np.random.default_rng(zlib.crc32(f"{TAG}{name}".encode()))
    coarse = torch.from_numpy(rng.uniform(-1, 1, (count, 3, 8, 8)).astype(np.float32))
    return nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


def fill(network: nn.Module, name: str) -> nn.Module:
    """Give ``network`` the reference weights of this name."""
    state = {key: _weight(name, key, tuple(tensor.shape)) for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    return network


def _weight(name: str, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    noise = np.random.default_rng(zlib.crc32(f"{TAG}{name}/{key}".encode())).standard_normal(shape)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var"):
        noise = 1 + 0.1 * np.abs(noise)
    elif key.endswith("running_mean"):
        noise = 0.1 * noise
    elif key.endswith("bias"):
        noise = 0.05 * noise
    elif len(shape) >= 2:
        noise = noise * np.sqrt(2 / np.prod(shape[1:]))
    else:
        noise = 1 + 0.1 * noise
    return torch.from_numpy(noise.astype(np.float32))
