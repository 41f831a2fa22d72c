"""A model as a function: loaded once, then a batch of pictures in, a batch of pictures out."""

import copy
import logging
from collections.abc import Sequence

import torch
from torch import nn

from models import checkpoint, pixels
from models.architecture import CYCLEGAN
from models.catalog import Model, ModelUnavailable
from models.cyclegan import ResnetGenerator
from models.device import computes_bfloat16
from models.pixels import Picture

MIN_PSNR_DB = 40.0  # reduced precision must agree with float32 at least this well, over the range of 255 levels
PROBE_SIDE = 128  # px

log = logging.getLogger("doppel.models")


class Translator:
    """A generator on its device, at the lowest precision that keeps its pictures.

    Args:
        model: from the catalog, with its weights at hand.

    Raises:
        ModelUnavailable: its weights are not at hand.
        CheckpointError: its weights file is not what its card says.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        if model.weights is None:
            raise ModelUnavailable(model.name, model.failure or "not fetched yet")
        if model.sha256 is not None and (digest := checkpoint.sha256(model.weights)) != model.sha256:
            raise checkpoint.CheckpointError(
                f"{model.weights} has sha256 {digest}, but {model.sha256} is what its card or lock says"
            )
        weights = checkpoint.load_exactly(model.weights, CYCLEGAN, model.card.network)
        network = ResnetGenerator(**{name: int(value) for name, value in model.card.network.items()})
        network.load_state_dict(weights.state)
        network.requires_grad_(False).eval().to(device)
        self.name = model.name
        self.device = device
        self._network, self.dtype = _cheapest(network, device)
        self.nbytes = sum(tensor.nbytes for tensor in self._network.state_dict().values())
        log.info("loaded %s on %s as %s, %.1f MB", self.name, device, self.dtype, self.nbytes / 1e6)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Translate N pictures (H, W, 3), uint8 RGB, of one shape with sides multiples of 4, into as many like them."""
        x = pixels.to_tensor(pictures).to(device=self.device, dtype=self.dtype)
        return pixels.to_pictures(self._network(x))


@torch.inference_mode()
def _cheapest(network: nn.Module, device: torch.device) -> tuple[nn.Module, torch.dtype]:
    """The network in bfloat16 where the device computes in it and the network bears it on a probe, else as it is.

    Nothing is timed, so that every worker on one kind of machine gives the same pixels.
    """
    if not computes_bfloat16(device):
        return network, torch.float32
    coarse = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    probe = nn.functional.interpolate(coarse, size=(PROBE_SIDE, PROBE_SIDE), mode="bilinear").to(device)
    reduced = copy.deepcopy(network).to(torch.bfloat16)
    mse = (network(probe) - reduced(probe.to(torch.bfloat16)).float()).square().mean()
    psnr_db = float(10 * torch.log10(4 / mse.clamp_min(1e-12)))  # 4: the square of the range [-1, 1]
    log.info("bfloat16 keeps %.0f dB", psnr_db)
    return (reduced, torch.bfloat16) if psnr_db >= MIN_PSNR_DB else (network, torch.float32)
