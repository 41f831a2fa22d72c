"""A StarGAN v2 as a function: pictures and style guides in, pictures out; or pictures in, style codes out."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from models.device import ServingDevice
from models.errors import NotFinite
from models.pictures import Picture
from models.serving import engines
from models.serving.engine import Numbers
from models.serving.style_codes import between, latent_code, latent_codes_of_mean
from models.serving.style_guide import StyleGuide
from models.stargan_v2.shape import MEAN_OF
from models.store.catalog import Model

MAPPED_AT_ONCE = 1000  # latent codes

log = logging.getLogger("doppel.models")


class Stylist:
    """The networks on their device, the generator in 16 bits where that keeps its pictures.

    Args:
        model: a StarGAN v2 of the catalog.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
        DeviceError: it takes torch, which is not installed.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        self._networks = engines.stylist_networks(model, device)
        self._name = model.name
        self.nbytes = self._networks.nbytes
        self.precision = self._networks.precision
        log.info("loaded %s on %s as %s, %.1f MB", model.name, device.name, self.precision, self.nbytes / 1e6)

    def prepare(self, pictures: Sequence[Picture]) -> Any:
        """Compute what depends on the sources alone, once for all their styles.

        Args:
            pictures: N of (H, W, 3), uint8 RGB, all of one shape, sides multiples of 32.
        """
        return self._networks.prepare(np.stack(pictures))

    def generate(self, sources: Any, indices: Sequence[int], styles: Numbers) -> list[Picture]:
        """Generate one picture for each index and style.

        Args:
            sources: as :meth:`prepare` returns them.
            indices: N indices into ``sources``; a source may appear more than once.
            styles: (N, style_dim) style codes, as :meth:`styles` returns them.

        Returns:
            N pictures (H, W, 3), uint8 RGB.

        Raises:
            NotFinite: what the generator makes of a picture is NaN or infinite.
        """
        pictures, finite = self._networks.generate(sources, indices, styles)
        if not finite:
            raise NotFinite(f"What {self._name!r} makes of this picture")
        return list(pictures)

    def align_faces(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Turn, scale and crop faces as those of the training set were.

        Args:
            pictures: cut-out faces (S, S, 3), uint8 RGB.

        Returns:
            As many pictures (img_size, img_size, 3), uint8 RGB.

        Raises:
            ValueError: this model has no landmark network, or a face's points nearly coincide.
        """
        return list(self._networks.align(np.stack(pictures)))

    def styles(self, guides: Sequence[StyleGuide], references: Sequence[Picture]) -> Numbers:
        """Compute the style codes of N guides.

        Args:
            references: (img_size, img_size, 3) uint8 RGB, one for each guide that is by reference, in their order.

        Returns:
            (N, style_dim), float32.

        Raises:
            NotFinite: a style is NaN or infinite.
        """
        codes: dict[int, Numbers] = {}
        by_latent = [n for n, guide in enumerate(guides) if guide.style is None and not guide.by_reference]
        if by_latent:
            codes |= zip(by_latent, self._of_latents([guides[n] for n in by_latent]), strict=True)
        by_reference = [n for n, guide in enumerate(guides) if guide.by_reference]
        if by_reference:
            read = self._networks.encode(np.stack(references))
            domains = [guides[n].domain for n in by_reference]
            codes |= zip(by_reference, read[np.arange(len(read)), domains], strict=True)
        for n, guide in enumerate(guides):
            if guide.style is not None:
                codes[n] = np.array(guide.style, np.float32)
        styles = np.stack([codes[n] for n in range(len(guides))])
        if not np.isfinite(styles).all():
            raise NotFinite(f"The style that {self._name!r} reads or makes")
        return styles

    def _of_latents(self, guides: Sequence[StyleGuide]) -> Numbers:
        """(N, style_dim), pulled towards the mean style of the domain as far as a guide's psi says."""
        styles = self._networks.map_latents(np.stack([self._latent(guide) for guide in guides]))
        domains = [guide.domain for guide in guides]
        chosen = styles[np.arange(len(guides)), domains]
        if all(guide.psi == 1 for guide in guides):
            return chosen
        psi = np.array([guide.psi for guide in guides], np.float32)[:, np.newaxis]
        return between(self._mean_styles[domains], chosen, psi)

    def _latent(self, guide: StyleGuide) -> Numbers:
        if guide.latent is not None:
            return np.array(guide.latent, np.float32)
        return latent_code(guide.seed or 0, self._networks.latent_dim)

    @cached_property
    def _mean_styles(self) -> Numbers:
        """(num_domains, style_dim): about a second of work for a wide network, which few requests need."""
        latents = np.split(latent_codes_of_mean(self._networks.latent_dim), MEAN_OF // MAPPED_AT_ONCE)
        styles = [self._networks.map_latents(some).astype(np.float64).mean(axis=0) for some in latents]
        mean: Numbers = np.mean(styles, axis=0).astype(np.float32)
        return mean
