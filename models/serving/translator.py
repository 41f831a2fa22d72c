"""A CycleGAN as a function: pictures in, translated pictures out."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from models.device import ServingDevice
from models.errors import NotFinite
from models.pictures import Picture
from models.serving import engines
from models.serving.engine import AsynchronousNetwork, Pending, Pictures
from models.serving.tiles import Tiling, translate_in_tiles
from models.store.catalog import Model
from models.store.model_card import CycleGANNetwork

log = logging.getLogger("doppel.models")


class Translator:
    """A CycleGAN generator on its device, in 16 bits where that keeps its pictures.

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
        self._tiling = Tiling.of(
            CycleGANNetwork.model_validate(model.card.network),
            margin=model.card.margin,
            number_bytes=self._network.number_bytes,
        )
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
        return self._delivered(*self._network(np.stack(pictures)))

    def begin(self, pictures: Sequence[Picture]) -> Pending[list[Picture]] | None:
        """Start on N pictures where the engine computes beside this thread; None where it has to be called.

        The result is as a call gives it, and raises as a call does.
        """
        if not isinstance(self._network, AsynchronousNetwork):
            return None
        return self._network.submit(pictures).then(lambda results: self._delivered(*results))

    def _delivered(self, translated: Pictures, finite: bool) -> list[Picture]:
        if not finite:
            raise NotFinite(f"What {self._name!r} makes of this picture")
        return list(translated)

    def in_tiles(self, picture: Picture) -> Iterator[tuple[float, Picture]]:
        """Translate one picture of any size, with memory for a part of it; see :mod:`models.serving.tiles`.

        Args:
            picture: (H, W, 3) uint8 RGB, sides multiples of 4.

        Yields:
            After each step the share of the work that is done, at last 1, and the picture as far as it is made.

        Raises:
            NotFinite: what the network makes of the picture is NaN or infinite.
        """
        made: Picture = np.zeros_like(picture)
        for done in translate_in_tiles(self._network, picture, made, self._tiling, name=self._name):
            yield done, made
