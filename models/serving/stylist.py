"""A StarGAN v2 as a function: pictures and guides in, pictures out; or pictures in, style codes out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models import pixels
from models.landmarks.placement import place
from models.pictures import Picture
from models.serving.precision import cheapest, probe
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.losses import Masks
from models.stargan_v2.networks import Generator, everywhere
from models.stargan_v2.style import latent_code, mean_styles, truncate
from models.store.catalog import Model
from models.weights.loading import load_weights

log = logging.getLogger("doppel.models")


@dataclass(frozen=True)
class Guide:
    """What a picture is to become: a domain, and one of the four that follow ``psi``."""

    domain: int  # its place among the model's domains
    psi: float = 1.0  # truncation of a latent code's style towards the domain's mean; 1: none
    seed: int | None = None  # of a latent code
    latent: Sequence[float] | None = None  # latent_dim numbers
    style: Sequence[float] | None = None  # style_dim numbers
    reference: Picture | None = None  # (img_size, img_size, 3) uint8 RGB, of that domain


@dataclass(frozen=True)
class Sources:
    """Pictures on the device, and where the high-pass path acts on each."""

    x: torch.Tensor  # (N, 3, H, W)
    masks: Masks | None  # (N, 1, h, w) each


class Stylist:
    """The networks on their device, the generator at the lowest precision that keeps its pictures.

    Args:
        model: a StarGAN v2 of the catalog, with its weights at hand.

    Raises:
        ModelUnavailable: its weights are not at hand.
        CheckpointError: its weights file is not what its card says.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        weights = load_weights(model)
        card = model.card
        arguments: dict[str, Any] = dict(weights.arguments)
        arguments["w_hpf"] = card.network["w_hpf"]  # how strong the high-pass path is does not show in the weights
        ensemble = Ensemble(**arguments)
        ensemble.load_state_dict(weights.state)
        ensemble.requires_grad_(False).eval().to(device)
        self.device = device
        self.latent_dim = arguments["latent_dim"]
        self._ensemble = ensemble
        self._masked = card.masks
        self._mean_styles = mean_styles(ensemble.mapping_network, self.latent_dim, arguments["num_domains"])
        self._generator, self.dtype = cheapest(ensemble.generator, device, self._try_out)
        ensemble.generator = self._generator  # one of the two is enough
        self.nbytes = sum(tensor.nbytes for tensor in ensemble.state_dict().values())
        log.info("loaded %s on %s as %s, %.1f MB", model.name, device, self.dtype, self.nbytes / 1e6)

    def _try_out(self, generator: Generator, dtype: torch.dtype) -> torch.Tensor:
        x = probe(self.device).to(dtype)
        out: torch.Tensor = generator(x, self._mean_styles[:1].to(dtype), everywhere(x) if self._masked else None)
        return out

    @torch.inference_mode()
    def prepare(self, pictures: Sequence[Picture]) -> Sources:
        """All that depends on the sources alone.

        Args:
            pictures: N of (H, W, 3), uint8 RGB, of one shape with sides multiples of 32.
        """
        x = pixels.to_tensor(pictures).to(self.device)
        return Sources(x.to(self.dtype), self._masks(x))

    @torch.inference_mode()
    def paint(self, sources: Sources, chosen: Sequence[int], s: torch.Tensor) -> list[Picture]:
        """Give the chosen sources, by their places, the style codes ``s`` (one each, of :meth:`styles`)."""
        places = torch.tensor(chosen, device=self.device)
        masks = None
        if sources.masks is not None:
            first, second = sources.masks
            masks = first[places], second[places]
        return pixels.to_pictures(self._generator(sources.x[places], s.to(self.dtype), masks))

    @torch.inference_mode()
    def aligned(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Cut-out faces (S, S, 3), uint8 RGB, brought to where the training set's faces are, at the model's size.

        Raises:
            ValueError: this model's faces are not aligned.
        """
        landmarks = self._ensemble.landmarks
        if landmarks is None:
            raise ValueError("this model has no landmark network to align faces by")
        x = pixels.to_tensor(pictures).to(self.device)
        return pixels.to_pictures(place(x, landmarks, self._ensemble.landmark_mean, self._ensemble.img_size))

    @torch.inference_mode()
    def styles(self, guides: Sequence[Guide]) -> torch.Tensor:
        """The style codes (N, style_dim), float32, that the guides lead to."""
        codes: dict[int, torch.Tensor] = {}
        of_latent = [n for n, guide in enumerate(guides) if guide.style is None and guide.reference is None]
        if of_latent:
            chosen = [guides[n] for n in of_latent]
            z = torch.cat([self._latent(guide) for guide in chosen]).to(self.device)
            y = self._domains(chosen)
            psi = torch.tensor([guide.psi for guide in chosen], device=self.device)[:, None]
            s = truncate(self._ensemble.mapping_network(z, y), self._mean_styles[y], psi)
            codes |= dict(zip(of_latent, s, strict=True))
        of_reference = [n for n, guide in enumerate(guides) if guide.reference is not None]
        if of_reference:
            chosen = [guides[n] for n in of_reference]
            x_ref = pixels.to_tensor([guide.reference for guide in chosen if guide.reference is not None])
            s = self._ensemble.style_encoder(x_ref.to(self.device), self._domains(chosen))
            codes |= dict(zip(of_reference, s, strict=True))
        for n, guide in enumerate(guides):
            if guide.style is not None:
                codes[n] = torch.tensor(guide.style, dtype=torch.float32, device=self.device)
        return torch.stack([codes[n] for n in range(len(guides))])

    def _latent(self, guide: Guide) -> torch.Tensor:
        if guide.latent is not None:
            return torch.tensor(guide.latent, dtype=torch.float32)[None]
        return latent_code(guide.seed or 0, self.latent_dim)

    def _domains(self, guides: Sequence[Guide]) -> torch.Tensor:
        return torch.tensor([guide.domain for guide in guides], device=self.device)

    def _masks(self, x: torch.Tensor) -> Masks | None:
        if self._masked is None:
            return None
        if self._masked == "ones" or self._ensemble.landmarks is None:
            return everywhere(x.to(self.dtype))
        first, second = self._ensemble.landmarks.masks(x)
        return first.to(self.dtype), second.to(self.dtype)
