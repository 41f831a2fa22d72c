"""Trains a StarGAN v2: four networks with an optimizer each, and moving averages of three of them."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from models import pixels
from models.errors import CheckpointError
from models.landmarks.points import POINTS
from models.pictures import Picture
from models.stargan_v2.losses import EncodeStyle, MaskPictures, Masks, Terms, discriminator_terms, generator_terms
from models.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder, init_he
from models.stargan_v2.style import interpolated, latent_code, mean_styles, truncate
from models.store.options import StarGANOptions
from models.store.samples import MAX_DOMAINS, Role, SampleRow
from models.training import distributed
from models.training.adam import Adam
from models.training.alarms import Translations
from models.training.cpu_layers import quicken
from models.training.data import GuidedBatch
from models.training.evaluation import Evaluation
from models.weights import doctor
from models.weights.architecture import StateDict

AVERAGED = ("generator", "mapping_network", "style_encoder")
FILM_FRAMES = 12  # from one reference to the next
VARIANTS = 5  # number of styles that diversity is measured on
SAMPLE_PSI = (0.5, 0.7, 1.0)
SAMPLE_MEAN_OF = 1000  # latent codes; ten times as many, as the service takes, would look the same
SOURCES = "sources"  # label of the sample's inputs


class StarGANTrainer:
    """Takes the step of the paper's code: D with latent codes, D with references, then G with each.

    Args:
        fixed_inputs: (domains, count, 3, S, S) pictures for :meth:`sample`, float32 in [-1, 1].
        masks: pictures → where the high-pass path acts on them; returns None if w_hpf is 0.
        landmarks: weights of the landmark network, to export them with the model if the masks need it.
    """

    def __init__(
        self,
        options: StarGANOptions,
        *,
        device: torch.device,
        fixed_inputs: torch.Tensor,
        masks: MaskPictures,
        landmarks: StateDict | None = None,
    ) -> None:
        self._landmarks = landmarks
        self.options = options
        self.device = device
        self._fixed_inputs = fixed_inputs.to(device)
        self._masks = masks
        num_domains = len(fixed_inputs)

        torch.manual_seed(options.seed)
        size, style_dim = options.img_size, options.style_dim
        width = (options.max_conv_dim, options.base_dim)
        self.networks = nn.ModuleDict(
            {
                "generator": Generator(size, style_dim, width[0], options.w_hpf, width[1], options.normalize_rgb),
                "mapping_network": MappingNetwork(options.latent_dim, style_dim, num_domains),
                "style_encoder": StyleEncoder(size, style_dim, num_domains, *width),
                "discriminator": Discriminator(size, num_domains, *width),
            }
        )
        init_he(self.networks)
        if device.type == "cpu":
            quicken(self.networks, convolutions=options.precision == "fp32")
        self.networks.to(device).to(memory_format=torch.channels_last)
        self._dtype = next(self.networks.parameters()).dtype
        self.averages = nn.ModuleDict({name: copy.deepcopy(self.networks[name]) for name in AVERAGED})
        self.averages.requires_grad_(False)
        self.generator, self.mapping_network, self.style_encoder, self.discriminator = map(
            distributed.shared, self.networks.values()
        )
        self._optimizers = {name: self._adam(name) for name in self.networks}

    def _adam(self, name: str) -> Adam:
        options = self.options
        return Adam(
            self.networks[name].parameters(),
            lr=options.f_lr if name == "mapping_network" else options.lr,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.options.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def lambda_ds(self, progress: int) -> float:
        """The weight of the diversity loss after ``progress`` steps; it falls linearly to 0 once the loss is used."""
        used = max(0, progress - self.options.identity_steps)
        return self.options.lambda_ds * max(0.0, 1.0 - used / self.options.ds_iter)

    def step(self, batch: GuidedBatch, progress: int) -> Terms:
        """Train once with both kinds of guide; the losses as ``D_latent_real``, ``G_reference_cyc`` and so on."""
        batch = GuidedBatch(*(part.to(self.device, non_blocking=True) for part in batch))
        if progress < self.options.identity_steps:
            losses = self._rebuild(batch)
        else:
            losses = self._play(batch, self.lambda_ds(progress))
        for name in AVERAGED:
            _follow(self.averages[name], self.networks[name], self.options.ema_beta)
        return losses

    def _rebuild(self, batch: GuidedBatch) -> Terms:
        """Train generator and encoder to rebuild pictures. Short trainings then learn styles sooner."""
        with self._autocast():
            s_org = self.style_encoder(batch.x_src, batch.y_org)
            x_rec = self.generator(batch.x_src, s_org, self._masks(batch.x_src))
            loss = (x_rec - batch.x_src).abs().mean()
        self._improve(loss, ("generator", "style_encoder"))
        return {"G_identity": loss.detach()}

    def _play(self, batch: GuidedBatch, lambda_ds: float) -> Terms:
        y_trg = batch.y_trg
        source_masks = self._masks(batch.x_src)

        def of_latent(z: torch.Tensor) -> EncodeStyle:
            return lambda: self.mapping_network(z, y_trg)

        def of_reference(x: torch.Tensor) -> EncodeStyle:
            return lambda: self.style_encoder(x, y_trg)

        guides = {
            "latent": (of_latent(batch.z_trg), of_latent(batch.z_trg2)),
            "reference": (of_reference(batch.x_ref), of_reference(batch.x_ref2)),
        }
        losses: Terms = {}
        for guide, (s_trg, _) in guides.items():
            losses |= self._improve_discriminator(batch, source_masks, s_trg, f"D_{guide}")
        for guide, styles in guides.items():
            # As in the paper's code, the step with references trains the generator alone: the encoder must not make
            # its own task easy.
            trained = AVERAGED if guide == "latent" else ("generator",)
            losses |= self._improve_generator(batch, source_masks, *styles, f"G_{guide}", trained, lambda_ds)
        return losses

    def _improve_discriminator(
        self, batch: GuidedBatch, source_masks: Masks | None, s_trg: EncodeStyle, name: str
    ) -> Terms:
        domains = (batch.x_src, batch.y_org, batch.y_trg)
        with self._autocast():
            terms = discriminator_terms(self._judge, self.generator, s_trg, *domains, source_masks=source_masks)
        loss = terms["real"] + terms["fake"] + self.options.lambda_reg * terms["reg"]
        self._improve(loss, ("discriminator",))
        return _named(name, terms)

    def _improve_generator(
        self,
        batch: GuidedBatch,
        source_masks: Masks | None,
        s_trg: EncodeStyle,
        s_trg2: EncodeStyle,
        name: str,
        trained: tuple[str, ...],
        lambda_ds: float,
    ) -> Terms:
        options = self.options
        domains = (batch.x_src, batch.y_org, batch.y_trg)
        with self._frozen_but(trained):
            with self._autocast():
                terms = generator_terms(
                    self._judge,
                    self.generator,
                    self.style_encoder,
                    s_trg,
                    s_trg2,
                    *domains,
                    source_masks=source_masks,
                    masks=self._masks,
                )
            loss = (
                terms["adv"]
                + options.lambda_sty * terms["sty"]
                - lambda_ds * terms["ds"]
                + options.lambda_cyc * terms["cyc"]
            )
            self._improve(loss, trained)
        return _named(name, terms)

    @contextlib.contextmanager
    def _frozen_but(self, trained: tuple[str, ...]) -> Iterator[None]:
        """Spare the gradients of the networks that a step does not train, a third of what they cost."""
        frozen = [
            parameter
            for name, network in self.networks.items()
            if name not in trained
            for parameter in network.parameters()
            if parameter.requires_grad
        ]
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def _judge(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Always in float32: bfloat16 is too coarse for the penalty, which is the gradient of a gradient.
        with torch.autocast(self.device.type, enabled=False):
            logits: torch.Tensor = self.discriminator(x.to(self._dtype), y)
        return logits

    def _improve(self, loss: torch.Tensor, trained: tuple[str, ...]) -> None:
        self.networks.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for name in trained:
            self._optimizers[name].step()

    @property
    def undecided(self) -> dict[str, dict[str, float]]:
        """The losses of a discriminator that can't tell real from generated pictures at all."""
        return {
            guide: {f"D_{guide}_{kind}": math.log(2) for kind in ("real", "fake")} for guide in ("latent", "reference")
        }

    def rates(self, progress: int) -> dict[str, float]:
        return {"learning_rate": self.options.lr, "lambda_ds": self.lambda_ds(progress)}

    @torch.no_grad()
    def _restyled(self, x_src: torch.Tensor, x_ref: torch.Tensor, y_trg: int) -> torch.Tensor:
        """Sources in the styles of references of one domain, made by the averages; (N, 3, S, S) each."""
        return self._generated(x_src, self._encoded(x_ref, y_trg), self._masks(x_src))

    def _generated(self, x_src: torch.Tensor, s: torch.Tensor, masks: Masks | None) -> torch.Tensor:
        with self._autocast():
            out: torch.Tensor = self.averages["generator"](x_src, s, masks)
        return out.float()

    def _encoded(self, x_ref: torch.Tensor, y: int) -> torch.Tensor:
        with self._autocast():
            s: torch.Tensor = self.averages["style_encoder"](x_ref, self._domain(y, len(x_ref)))
        return s

    def _mapped(self, z: torch.Tensor, y: int) -> torch.Tensor:
        with self._autocast():
            s: torch.Tensor = self.averages["mapping_network"](z, self._domain(y, len(z)))
        return s

    def _domain(self, y: int, count: int) -> torch.Tensor:
        return torch.full((count,), y, device=self.device)

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
                x = self.averages["generator"](x_src, s.expand(len(x_src), -1), masks)
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
                x_src = picture.to(self.device)
                x_ref = held_out[y_trg][n % len(held_out[y_trg])][None].to(self.device)
                fake = self._restyled(x_src, x_ref, y_trg)
                returned.append(self._restyled(fake, x_src, y_org).cpu())
                fakes.append(fake.cpu())
            generated.append(torch.cat(fakes))
            cycled.append(torch.cat(returned))
        latents = torch.cat([latent_code(seed, self.options.latent_dim) for seed in range(VARIANTS)]).to(self.device)
        return Evaluation(
            real=held_out,
            cycled=cycled,
            generated=generated[-1:] + generated[:-1],  # pictures of a domain were translated into the next one
            variants={
                "reference": lambda: self._variants(
                    held_out, lambda y: self._encoded(held_out[y][:VARIANTS].to(self.device), y)
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
                    x_src = picture.to(self.device)
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
        generator, mapping, encoder = (self.averages[name] for name in AVERAGED)
        inputs = self._fixed_inputs[:MAX_DOMAINS]
        num_domains, count = inputs.shape[:2]
        x_src = inputs.flatten(0, 1)
        y_org = torch.arange(num_domains, device=self.device).repeat_interleave(count)
        masks = self._masks(x_src)
        means = mean_styles(cast(MappingNetwork, mapping), self.options.latent_dim, SAMPLE_MEAN_OF)[:num_domains]
        z = latent_code(0, self.options.latent_dim).to(self.device)

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
                    fake = styled(encoder(x_ref, torch.tensor([y], device=self.device)).float())
                    add(label, "variant" if n else "output", fake, x_ref)
                first_styles[y] = fake  # the first reference comes last
                if y == 0:
                    rebuilt = generator(fake, encoder(x_src, y_org), self._masks(fake)).float()
                    add("back in their own styles", "cycle", rebuilt)
                    rows.insert(1, rows.pop())
            for y, domain in enumerate(domains[:num_domains]):
                s = mapping(z, torch.tensor([y], device=self.device)).float()
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

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "averages": self.averages.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
        }

    def exports(self) -> dict[str, StateDict]:
        """The averages in float16 for publication, with the landmark network if the masks come from it."""
        state = {key: tensor.half() for key, tensor in self.averages.state_dict().items()}
        if self._landmarks is not None:
            # Its statistics may be too large for float16. Zeros: the faces were not aligned to a mean face.
            state |= {f"landmarks.{key}": tensor for key, tensor in self._landmarks.items()}
            state["landmark_mean"] = torch.zeros(POINTS, 2)
        return {"model": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start_from(state)
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def start_from(self, state: dict[str, Any]) -> None:
        """Start a new run from the networks of another one (fine-tuning)."""
        self.networks.load_state_dict(state["networks"])
        self.averages.load_state_dict(state["averages"])

    def start_from_weights(self, path: Path) -> None:
        """Start a new run from the networks of a published model, which has no discriminator.

        Raises:
            CheckpointError: the weights belong to networks of other sizes.
        """
        found = doctor.load(path)
        state = {key: tensor for key, tensor in found.state.items() if not key.startswith("landmark")}
        try:
            self.averages.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"{path.name} is a {found.kind} that doesn't fit this run: {error}") from error
        for name in AVERAGED:
            self.networks[name].load_state_dict(self.averages[name].state_dict())


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, beta: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - beta)
    for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)


def _named(prefix: str, terms: Terms) -> Terms:
    return {f"{prefix}_{name}": term.detach() for name, term in terms.items()}
