"""Pictures that a StarGAN v2 makes while it trains: samples, films, and those that its quality is measured on."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from models import pixels
from models.pictures import Picture
from models.stargan_v2.losses import MaskPictures, Masks
from models.stargan_v2.networks import MappingNetwork
from models.stargan_v2.style import interpolated, latent_code, mean_styles, truncate
from models.store.samples import MAX_DOMAINS, Role, SampleRow
from models.training.alarms import Translations
from models.training.evaluation import Evaluation

FILM_FRAMES = 12  # from one reference to the next
VARIANTS = 5  # number of styles that diversity is measured on
SAMPLE_PSI = (0.5, 0.7, 1.0)
SAMPLE_MEAN_OF = 1000  # latent codes; ten times as many, as the service takes, would look the same
SOURCES = "sources"  # label of the sample's inputs


class StyledPictures:
    """Makes pictures with the averages of a run's networks.

    Args:
        networks: the averages of generator, mapping network and style encoder, in this order, by their names.
        fixed_inputs: (domains, count, 3, S, S) pictures for films and samples, on the networks' device.
        masks: pictures → where the high-pass path acts on them; returns None if w_hpf is 0.
        autocast: begins a block in the precision of the run.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        *,
        latent_dim: int,
        fixed_inputs: torch.Tensor,
        masks: MaskPictures,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]],
    ) -> None:
        self._networks = networks
        self._latent_dim = latent_dim
        self._fixed_inputs = fixed_inputs
        self._device = fixed_inputs.device
        self._masks = masks
        self._autocast = autocast

    @torch.no_grad()
    def _restyled(self, x_src: torch.Tensor, x_ref: torch.Tensor, y_trg: int) -> torch.Tensor:
        """Sources in the styles of references of one domain, made by the averages; (N, 3, S, S) each."""
        return self._generated(x_src, self._encoded(x_ref, y_trg), self._masks(x_src))

    def _generated(self, x_src: torch.Tensor, s: torch.Tensor, masks: Masks | None) -> torch.Tensor:
        with self._autocast():
            out: torch.Tensor = self._networks["generator"](x_src, s, masks)
        return out.float()

    def _encoded(self, x_ref: torch.Tensor, y: int) -> torch.Tensor:
        with self._autocast():
            s: torch.Tensor = self._networks["style_encoder"](x_ref, self._domain(y, len(x_ref)))
        return s

    def _mapped(self, z: torch.Tensor, y: int) -> torch.Tensor:
        with self._autocast():
            s: torch.Tensor = self._networks["mapping_network"](z, self._domain(y, len(z)))
        return s

    def _domain(self, y: int, count: int) -> torch.Tensor:
        return torch.full((count,), y, device=self._device)

    @torch.inference_mode()
    def film(self) -> list[Picture]:
        """Frames of one source of each of the first domains, in styles between the references of the first domain."""
        x_src = self._fixed_inputs[:MAX_DOMAINS, 0]
        x_ref = self._fixed_inputs[0]
        masks = self._masks(x_src)
        frames = []
        with self._autocast():
            s_ref = self._encoded(x_ref, 0).float()
            for s in interpolated(s_ref, FILM_FRAMES):
                x = self._networks["generator"](x_src, s.expand(len(x_src), -1), masks)
                frames.append(np.concatenate(pixels.to_pictures(x), axis=1))
        return frames

    @torch.no_grad()
    def evaluate(self, held_out: Sequence[torch.Tensor]) -> Evaluation:
        """Translate (N, 3, S, S) held-out pictures of each domain into the next domain, and back, with the averages."""
        generated: list[torch.Tensor] = []
        cycled = []
        for y_org, pictures in enumerate(held_out):
            y_trg = (y_org + 1) % len(held_out)
            fakes, returned = [], []
            for n, picture in enumerate(torch.split(pictures, 1)):
                x_src = picture.to(self._device)
                x_ref = held_out[y_trg][n % len(held_out[y_trg])][None].to(self._device)
                fake = self._restyled(x_src, x_ref, y_trg)
                returned.append(self._restyled(fake, x_src, y_org).cpu())
                fakes.append(fake.cpu())
            generated.append(torch.cat(fakes))
            cycled.append(torch.cat(returned))
        latents = torch.cat([latent_code(seed, self._latent_dim) for seed in range(VARIANTS)]).to(self._device)
        return Evaluation(
            real=held_out,
            cycled=cycled,
            generated=generated[-1:] + generated[:-1],  # pictures of a domain were translated into the next one
            variants={
                "reference": lambda: self._variants(
                    held_out, lambda y: self._encoded(held_out[y][:VARIANTS].to(self._device), y)
                ),
                "latent": lambda: self._variants(held_out, lambda y: self._mapped(latents, y)),
            },
        )

    @torch.no_grad()
    def _variants(
        self, held_out: Sequence[torch.Tensor], styles: Callable[[int], torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """For each held-out picture, (K, 3, S, S): the picture in each of the ``styles`` of the next domain."""
        for y_org, pictures in enumerate(held_out):
            s = styles((y_org + 1) % len(held_out))
            if len(s) > 1:  # there is no diversity with one style
                for picture in torch.split(pictures, 1):
                    x_src = picture.to(self._device)
                    masks = self._masks(x_src)
                    if masks is not None:
                        masks = masks[0].expand(len(s), -1, -1, -1), masks[1].expand(len(s), -1, -1, -1)
                    yield self._generated(x_src.expand(len(s), -1, -1, -1), s, masks).cpu()

    @torch.inference_mode()
    def sample(self, domains: Sequence[str]) -> tuple[list[SampleRow], Translations]:
        """What the averages make of the fixed inputs of the first domains, all side by side.

        Rows: the inputs; their reconstruction by way of the first reference; the style of each reference; for each
        domain the style of a latent code at psi 0.5, 0.7 and 1.

        Translations: the inputs of every domain in the style of the first reference of the next domain.
        """
        generator, mapping, encoder = self._networks.values()
        inputs = self._fixed_inputs[:MAX_DOMAINS]
        num_domains, count = inputs.shape[:2]
        x_src = inputs.flatten(0, 1)
        y_org = torch.arange(num_domains, device=self._device).repeat_interleave(count)
        masks = self._masks(x_src)
        means = mean_styles(cast(MappingNetwork, mapping), self._latent_dim, SAMPLE_MEAN_OF)[:num_domains]
        z = latent_code(0, self._latent_dim).to(self._device)

        def styled(s: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = generator(x_src, s.expand(len(x_src), -1), masks).float()
            return out

        rows: list[SampleRow] = []
        first_styles: dict[int, torch.Tensor] = {}  # domain → all inputs in the style of its first reference

        def add(label: str, role: Role, x: torch.Tensor, x_ref: torch.Tensor | None = None) -> None:
            reference = None if x_ref is None else pixels.to_pictures(x_ref)[0]
            rows.append(SampleRow(label, role, pixels.to_pictures(x), None if role == "input" else SOURCES, reference))

        add(SOURCES, "input", x_src)
        with self._autocast():
            for y, domain in enumerate(domains[:num_domains]):
                label = f"in the style of the {domain} at the left"
                for n, x_ref in enumerate(inputs[y][:, None].flip(0)):
                    fake = styled(encoder(x_ref, torch.tensor([y], device=self._device)).float())
                    add(label, "variant" if n else "output", fake, x_ref)
                first_styles[y] = fake  # the first reference comes last
                if y == 0:
                    rebuilt = generator(fake, encoder(x_src, y_org), self._masks(fake)).float()
                    add("back in their own styles", "cycle", rebuilt)
                    rows.insert(1, rows.pop())
            for y, domain in enumerate(domains[:num_domains]):
                s = mapping(z, torch.tensor([y], device=self._device)).float()
                for psi in SAMPLE_PSI:
                    add(
                        f"{domain}, a latent code" + (f", psi {psi}" if psi < 1 else ""),
                        "variant" if psi < 1 else "output",
                        styled(truncate(s, means[y], psi)),
                    )
        return rows, self._translations({y: x.view_as(inputs) for y, x in first_styles.items()})

    def _translations(self, made: dict[int, torch.Tensor]) -> Translations:
        """The fixed inputs of each domain in the style of the next one's first reference.

        Args:
            made: domain → what was made in this style already, (domains, count, 3, S, S) of the first domains.
        """
        inputs = self._fixed_inputs
        found = {}
        for y_org, x in enumerate(inputs):
            y_trg = (y_org + 1) % len(inputs)
            if y_trg in made and y_org < len(made[y_trg]):
                found[y_org, y_trg] = x, made[y_trg][y_org]
            else:
                found[y_org, y_trg] = x, self._restyled(x, inputs[y_trg][:1].expand_as(x), y_trg)
        return found
