"""A CycleGAN as a function: loaded once, then a batch of pictures in, a batch of pictures out."""

import logging
from collections.abc import Sequence

import torch
from torch.nn import functional

from models import pixels
from models.cyclegan import ResnetGenerator
from models.pictures import Picture
from models.serving.precision import cheapest, probe
from models.store.catalog import Model
from models.weights.loading import load_weights

log = logging.getLogger("doppel.models")


class Translator:
    """A generator on its device, at the lowest precision that keeps its pictures.

    Args:
        model: a CycleGAN of the catalog, with its weights at hand.

    Raises:
        ModelUnavailable: its weights are not at hand.
        CheckpointError: its weights file is not what its card says.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        weights = load_weights(model)
        network = ResnetGenerator(**{name: int(value) for name, value in weights.arguments.items()})
        network.load_state_dict(weights.state)
        network.requires_grad_(False).eval().to(device)
        self.device = device
        self._network, self.dtype = cheapest(network, device, lambda net, dtype: net(probe(device).to(dtype)))
        self._margin = model.card.margin
        self.nbytes = sum(tensor.nbytes for tensor in self._network.state_dict().values())
        log.info("loaded %s on %s as %s, %.1f MB", model.name, device, self.dtype, self.nbytes / 1e6)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Translate N pictures (H, W, 3), uint8 RGB, of one shape with sides multiples of 4, into as many like them."""
        x = pixels.to_tensor(pictures).to(device=self.device, dtype=self.dtype)
        height, width = x.shape[2:]
        # Mirroring needs a picture larger than what is mirrored of it; sides stay multiples of 4.
        margin = min(self._margin, (min(height, width) - 1) // 4 * 4)
        x = functional.pad(x, (margin,) * 4, mode="reflect")
        out = self._network(x)[:, :, margin : margin + height, margin : margin + width]
        return pixels.to_pictures(out)
