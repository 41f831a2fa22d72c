"""Run a network in bfloat16 where that keeps its pictures."""

import copy
import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from models.device import computes_bfloat16

MIN_PSNR_DB = 40.0  # of bfloat16's picture against float32's, for a peak of 255 levels
PROBE_SIDE = 128  # px

log = logging.getLogger("doppel.models")

Network = TypeVar("Network", bound=nn.Module)


def probe(device: torch.device) -> torch.Tensor:
    """A smooth picture (1, 3, PROBE_SIDE, PROBE_SIDE), float32 in [-1, 1], the same on every machine."""
    coarse = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return nn.functional.interpolate(coarse, size=(PROBE_SIDE, PROBE_SIDE), mode="bilinear").to(device)


@torch.inference_mode()
def lowest_precision(
    network: Network, device: torch.device, run: Callable[[Network, torch.dtype], torch.Tensor]
) -> tuple[Network, torch.dtype]:
    """Return the network in bfloat16 if the device computes in it and the pictures stay the same, else as it is.

    The choice does not depend on timing, so all workers on one kind of machine give the same pixels.

    Args:
        run: runs the network on a :func:`probe` of the given dtype; its output is in [-1, 1].

    Returns:
        The network, and the dtype that its input must have.
    """
    if not computes_bfloat16(device):
        return network, torch.float32
    reduced = copy.deepcopy(network).to(torch.bfloat16)
    mse = (run(network, torch.float32) - run(reduced, torch.bfloat16).float()).square().mean()
    psnr_db = float(10 * torch.log10(4 / mse.clamp_min(1e-12)))  # 4: the square of the range [-1, 1]
    log.info("bfloat16 keeps %.0f dB", psnr_db)
    return (reduced, torch.bfloat16) if psnr_db >= MIN_PSNR_DB else (network, torch.float32)
