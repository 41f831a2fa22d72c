"""A StarGAN v2 as a function: pictures and style guides in, pictures out; or pictures in, style codes out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models import pixels
from models.landmarks.placement import place
from models.pictures import Picture
from models.serving.precision import lowest_precision, probe
from models.serving.style_guide import StyleGuide
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.losses import Masks
from models.stargan_v2.networks import Generator, everywhere
from models.stargan_v2.style import latent_code, mean_styles, truncate
from models.store.catalog import Model
from models.weights.loading import load_weights

log = logging.getLogger("doppel.models")


@dataclass(frozen=True)
class PreparedSources:
    """Source pictures on the device, and the masks of the high-pass path for each."""

    x: torch.Tensor  # (N, 3, H, W)
    masks: Masks | None  # (N, 1, h, w) each


class Stylist:
    """The networks on their device, the generator in bfloat16 where that keeps its pictures.

    Args:
        model: a StarGAN v2 of the catalog.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        weights = load_weights(model)
        card = model.card
        arguments: dict[str, Any] = dict(weights.arguments)
        arguments["w_hpf"] = card.network["w_hpf"]  # the weights do not show the strength of the high-pass path
        ensemble = Ensemble(**arguments)
        ensemble.load_state_dict(weights.state)
        ensemble.requires_grad_(False).eval().to(device)
        self.device = device
        self._name = model.name
        self.latent_dim = arguments["latent_dim"]
        self._ensemble = ensemble
        self._mask_source = card.masks
        self._mean_styles = mean_styles(ensemble.mapping_network, self.latent_dim)
        self._generator, self.dtype = lowest_precision(ensemble.generator, device, self._run_probe)
        ensemble.generator = self._generator  # frees the float32 copy
        self.nbytes = sum(tensor.nbytes for tensor in ensemble.state_dict().values())
        log.info("loaded %s on %s as %s, %.1f MB", model.name, device, self.dtype, self.nbytes / 1e6)

    def _run_probe(self, generator: Generator, dtype: torch.dtype) -> torch.Tensor:
        x = probe(self.device).to(dtype)
        masks = everywhere(x) if self._mask_source else None
        out: torch.Tensor = generator(x, self._mean_styles[:1].to(dtype), masks)
        return out

    @torch.inference_mode()
    def prepare(self, pictures: Sequence[Picture]) -> PreparedSources:
        """Compute what depends on the sources alone, once for all their styles.

        Args:
            pictures: N of (H, W, 3), uint8 RGB, all of one shape, sides multiples of 32.
        """
        x = pixels.to_tensor(pictures).to(self.device)
        return PreparedSources(x.to(self.dtype), self._masks(x))

    @torch.inference_mode()
    def generate(self, sources: PreparedSources, indices: Sequence[int], styles: torch.Tensor) -> list[Picture]:
        """Generate one picture for each index and style.

        Args:
            indices: N indices into ``sources``; a source may appear more than once.
            styles: (N, style_dim) style codes, as :meth:`styles` returns them.

        Returns:
            N pictures (H, W, 3), uint8 RGB.

        Raises:
            NotFinite: what the generator makes of a picture is NaN or infinite.
        """
        chosen = torch.tensor(indices, device=self.device)
        masks = None
        if sources.masks is not None:
            first, second = sources.masks
            masks = first[chosen], second[chosen]
        out = self._generator(sources.x[chosen], styles.to(self.dtype), masks)
        return pixels.to_pictures(pixels.require_finite(out, f"What {self._name!r} makes of this picture"))

    @torch.inference_mode()
    def align_faces(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Turn, scale and crop faces as those of the training set were.

        Args:
            pictures: cut-out faces (S, S, 3), uint8 RGB.

        Returns:
            As many pictures (img_size, img_size, 3), uint8 RGB.

        Raises:
            ValueError: this model has no landmark network.
        """
        landmarks = self._ensemble.landmarks
        if landmarks is None:
            raise ValueError("this model has no landmark network to align faces by")
        x = pixels.to_tensor(pictures).to(self.device)
        return pixels.to_pictures(place(x, landmarks, self._ensemble.landmark_mean, self._ensemble.img_size))

    @torch.inference_mode()
    def styles(self, guides: Sequence[StyleGuide], references: Sequence[Picture]) -> torch.Tensor:
        """Compute the style codes of N guides.

        Args:
            references: (img_size, img_size, 3) uint8 RGB, one for each guide that is by reference, in their order.

        Returns:
            (N, style_dim), float32.

        Raises:
            NotFinite: a style is NaN or infinite.
        """
        codes: dict[int, torch.Tensor] = {}
        by_latent = [n for n, guide in enumerate(guides) if guide.style is None and not guide.by_reference]
        if by_latent:
            chosen = [guides[n] for n in by_latent]
            z = torch.cat([self._latent(guide) for guide in chosen]).to(self.device)
            y = self._domains(chosen)
            psi = torch.tensor([guide.psi for guide in chosen], device=self.device)[:, None]
            s = truncate(self._ensemble.mapping_network(z, y), self._mean_styles[y], psi)
            codes |= dict(zip(by_latent, s, strict=True))
        by_reference = [n for n, guide in enumerate(guides) if guide.by_reference]
        if by_reference:
            x_ref = pixels.to_tensor(references).to(self.device)
            s = self._ensemble.style_encoder(x_ref, self._domains([guides[n] for n in by_reference]))
            codes |= dict(zip(by_reference, s, strict=True))
        for n, guide in enumerate(guides):
            if guide.style is not None:
                codes[n] = torch.tensor(guide.style, dtype=torch.float32, device=self.device)
        styles = torch.stack([codes[n] for n in range(len(guides))])
        return pixels.require_finite(styles, f"The style that {self._name!r} reads or makes")

    def _latent(self, guide: StyleGuide) -> torch.Tensor:
        if guide.latent is not None:
            return torch.tensor(guide.latent, dtype=torch.float32)[None]
        return latent_code(guide.seed or 0, self.latent_dim)

    def _domains(self, guides: Sequence[StyleGuide]) -> torch.Tensor:
        return torch.tensor([guide.domain for guide in guides], device=self.device)

    def _masks(self, x: torch.Tensor) -> Masks | None:
        if self._mask_source is None:
            return None
        if self._mask_source == "ones":
            return everywhere(x.to(self.dtype))
        assert self._ensemble.landmarks is not None, "the card was checked"
        first, second = self._ensemble.landmarks.masks(x)
        return first.to(self.dtype), second.to(self.dtype)
