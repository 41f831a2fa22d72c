"""Run a torch network in bfloat16 where that keeps its pictures."""

import copy
import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from models import pixels
from models.device import computes_bfloat16
from models.serving.probe import MIN_PSNR_DB, probe, psnr_db

log = logging.getLogger("doppel.models")

Network = TypeVar("Network", bound=nn.Module)


@torch.inference_mode()
def lowest_precision(
    network: Network, device: torch.device, run: Callable[[Network, torch.Tensor], torch.Tensor]
) -> tuple[Network, torch.dtype]:
    """Return the network in bfloat16 if the device computes in it and the pictures stay the same, else as it is.

    The choice does not depend on timing, so all workers on one kind of machine give the same pixels.

    Args:
        run: runs the network on a probe (1, 3, H, W) in [-1, 1] of its dtype; so is its output.

    Returns:
        The network, and the dtype that its input must have.
    """
    if not computes_bfloat16(device):
        return network, torch.float32
    reduced = copy.deepcopy(network).to(torch.bfloat16)
    x = pixels.to_tensor([probe()]).to(device)
    expected, actual = (pixels.to_pictures(out)[0] for out in (run(network, x), run(reduced, x.to(torch.bfloat16))))
    kept_db = psnr_db(actual, expected)
    log.info("bfloat16 keeps %.0f dB", kept_db)
    return (reduced, torch.bfloat16) if kept_db >= MIN_PSNR_DB else (network, torch.float32)
