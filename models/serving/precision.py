"""The cheapest precision that keeps a network's pictures."""

import copy
import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from models.device import computes_bfloat16

MIN_PSNR_DB = 40.0  # reduced precision must agree with float32 at least this well, over the range of 255 levels
PROBE_SIDE = 128  # px

log = logging.getLogger("doppel.models")

Network = TypeVar("Network", bound=nn.Module)


def probe(device: torch.device) -> torch.Tensor:
    """A smooth picture (1, 3, PROBE_SIDE, PROBE_SIDE) float32 in [-1, 1], the same everywhere."""
    coarse = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return nn.functional.interpolate(coarse, size=(PROBE_SIDE, PROBE_SIDE), mode="bilinear").to(device)


@torch.inference_mode()
def cheapest(
    network: Network, device: torch.device, run: Callable[[Network, torch.dtype], torch.Tensor]
) -> tuple[Network, torch.dtype]:
    """The network in bfloat16 where the device computes in it and the network bears it, else as it is.

    Nothing is timed, so that every worker on one kind of machine gives the same pixels.

    Args:
        run: given the network and the dtype of its input, what it makes of a probe, in [-1, 1].
    """
    if not computes_bfloat16(device):
        return network, torch.float32
    reduced = copy.deepcopy(network).to(torch.bfloat16)
    mse = (run(network, torch.float32) - run(reduced, torch.bfloat16).float()).square().mean()
    psnr_db = float(10 * torch.log10(4 / mse.clamp_min(1e-12)))  # 4: the square of the range [-1, 1]
    log.info("bfloat16 keeps %.0f dB", psnr_db)
    return (reduced, torch.bfloat16) if psnr_db >= MIN_PSNR_DB else (network, torch.float32)
