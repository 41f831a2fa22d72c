"""A CycleGAN as a function: pictures in, translated pictures out."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from models import pixels
from models.cyclegan import ResnetGenerator
from models.pictures import Picture
from models.serving.precision import lowest_precision, probe
from models.store.catalog import Model
from models.weights.loading import load_weights

log = logging.getLogger("doppel.models")


class Translator:
    """A CycleGAN generator on its device, in bfloat16 where that keeps its pictures.

    Args:
        model: a CycleGAN of the catalog.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        weights = load_weights(model)
        arguments: dict[str, Any] = dict(weights.arguments)
        network = ResnetGenerator(**arguments)
        network.load_state_dict(weights.state)
        network.requires_grad_(False).eval().to(device)
        self.device = device
        self._network, self.dtype = lowest_precision(network, device, lambda net, dtype: net(probe(device).to(dtype)))
        self._name = model.name
        self._margin = model.card.margin
        self.nbytes = sum(tensor.nbytes for tensor in self._network.state_dict().values())
        log.info("loaded %s on %s as %s, %.1f MB", model.name, device, self.dtype, self.nbytes / 1e6)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Translate N pictures.

        Args:
            pictures: (H, W, 3) uint8 RGB each, all of one shape, sides multiples of 4.

        Returns:
            N pictures of the same shape.

        Raises:
            NotFinite: what the network makes of a picture is NaN or infinite.
        """
        x = pixels.to_tensor(pictures).to(device=self.device, dtype=self.dtype)
        height, width = x.shape[2:]
        # The reflected margin must be smaller than the picture, and keep the sides multiples of 4.
        margin = min(self._margin, (min(height, width) - 1) // 4 * 4)
        x = functional.pad(x, (margin,) * 4, mode="reflect")
        out = self._network(x)[:, :, margin : margin + height, margin : margin + width]
        return pixels.to_pictures(pixels.require_finite(out, f"What {self._name!r} makes of this picture"))
