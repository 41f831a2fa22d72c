"""A CycleGAN as a function: pictures in, translated pictures out."""

import logging
from collections.abc import Sequence

import numpy as np

from models.device import ServingDevice
from models.errors import NotFinite
from models.pictures import Picture
from models.serving import engines
from models.store.catalog import Model

log = logging.getLogger("doppel.models")


class Translator:
    """A CycleGAN generator on its device, in bfloat16 where that keeps its pictures.

    Args:
        model: a CycleGAN of the catalog.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
        DeviceError: it takes torch, which is not installed.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._network = engines.translator(model, device)
        self._name = model.name
        self.nbytes = self._network.nbytes
        self.precision = self._network.precision
        log.info("loaded %s on %s as %s, %.1f MB", model.name, device.name, self.precision, self.nbytes / 1e6)

    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Translate N pictures.

        Args:
            pictures: (H, W, 3) uint8 RGB each, all of one shape, sides multiples of 4.

        Returns:
            N pictures of the same shape.

        Raises:
            NotFinite: what the network makes of a picture is NaN or infinite.
        """
        translated, finite = self._network(np.stack(pictures))
        if not finite:
            raise NotFinite(f"What {self._name!r} makes of this picture")
        return list(translated)
