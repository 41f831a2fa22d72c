"""Run a torch network in a lower precision where that keeps its pictures."""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from models import pixels
from models.device import computes_bfloat16
from models.serving.probe import MIN_PSNR_DB, probe, psnr_db

HEADROOM = 16  # of float16's range above the largest number that the probe gives rise to
TENSOR_CORES = (7, 0)  # the first compute capability that has them; before, float16 is slow

log = logging.getLogger("doppel.models")

Network = TypeVar("Network", bound=nn.Module)


@torch.inference_mode()
def lowest_precision(
    network: Network,
    device: torch.device,
    run: Callable[[Network, torch.Tensor], torch.Tensor],
    *,
    float16: bool = True,
) -> tuple[Network, torch.dtype]:
    """Return the network in 16 bits if the device computes in them and the pictures stay the same, else as it is.

    The choice does not depend on timing, so all workers on one kind of machine give the same pixels.

    Args:
        run: runs the network on a probe (1, 3, H, W) in [-1, 1] of its dtype; so is its output.
        float16: whether it may be float16, which unusual pictures and styles may overflow.

    Returns:
        The network, and the dtype that its input must have.
    """
    candidates = [dtype for dtype in _sixteen_bits(device) if float16 or dtype is not torch.float16]
    if not candidates:
        return network, torch.float32
    x = pixels.to_tensor([probe()]).to(device)
    expected = pixels.to_pictures(run(network, x))[0]
    for dtype in candidates:
        reduced = copy.deepcopy(network).to(dtype)
        with _largest_number(reduced) as largest:
            actual = pixels.to_pictures(run(reduced, x.to(dtype)))[0]
        kept_db = psnr_db(actual, expected)
        log.info("%s keeps %.0f dB", dtype, kept_db)
        if kept_db >= MIN_PSNR_DB and largest() * HEADROOM < torch.finfo(dtype).max:
            return reduced, dtype
    return network, torch.float32


def _sixteen_bits(device: torch.device) -> list[torch.dtype]:
    """The types that the device computes in, best first: float16 is eight times as fine, bfloat16 never overflows."""
    dtypes = []
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES:
        dtypes.append(torch.float16)
    if computes_bfloat16(device):
        dtypes.append(torch.bfloat16)
    return dtypes


@contextmanager
def _largest_number(network: nn.Module) -> Iterator[Callable[[], float]]:
    """The largest absolute value in what the network's modules return meanwhile."""
    seen: list[torch.Tensor] = []

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            seen.append(output.abs().amax().float())

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    try:
        yield lambda: float(torch.stack(seen).amax()) if seen else 0.0
    finally:
        for hook in hooks:
            hook.remove()
