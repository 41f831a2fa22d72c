"""Trains a StarGAN v2: four networks with an optimizer each, and moving averages of three of them."""

import contextlib
import copy
import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models import gpu_layers
from models.errors import CheckpointError
from models.landmarks.points import POINTS
from models.pictures import Picture
from models.serving.accelerator import Accelerator
from models.stargan_v2.losses import EncodeStyle, MaskPictures, Masks, Terms, discriminator_terms, generator_terms
from models.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder, init_he
from models.store.options import StarGANOptions
from models.store.samples import SampleRow
from models.training import distributed
from models.training.adam import Adam
from models.training.alarms import Translations
from models.training.averages import follow
from models.training.cpu_layers import quicken
from models.training.data import GuidedBatch
from models.training.evaluation import Evaluation
from models.training.recorded_part import RecordedPart, recorder
from models.training.stargan_pictures import StyledPictures
from models.weights import doctor
from models.weights.architecture import StateDict

Translated = tuple[torch.Tensor, torch.Tensor]  # a style code, and what the generator has made of the sources by it

AVERAGED = ("generator", "mapping_network", "style_encoder")


class StarGANTrainer:
    """Takes the step of the paper's code: D with latent codes, D with references, then G with each.

    Args:
        fixed_inputs: (domains, count, 3, S, S) pictures for films and samples, float32 in [-1, 1].
        masks: pictures → where the high-pass path acts on them; returns None if w_hpf is 0.
        landmarks: weights of the landmark network, to export them with the model if the masks need it.
        accelerator: records the step; None: the GPU, if that is the device.
    """

    def __init__(
        self,
        options: StarGANOptions,
        *,
        device: torch.device,
        fixed_inputs: torch.Tensor,
        masks: MaskPictures,
        landmarks: StateDict | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        self._landmarks = landmarks
        self.options = options
        self.device = device
        self._masks = masks
        # Masks of landmarks index by lists, which are copied from the host each time. This can't be recorded.
        self._accelerator = None if options.needs_landmarks else recorder(device, accelerator)
        self._autocast = functools.partial(_autocast, device.type, options.precision)
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
        format = gpu_layers.memory_format(device) if device.type == "cuda" else torch.channels_last
        self.networks.to(device).to(memory_format=format)
        self._dtype = next(self.networks.parameters()).dtype
        self.averages = nn.ModuleDict({name: copy.deepcopy(self.networks[name]) for name in AVERAGED})
        self.averages.requires_grad_(False)
        self.generator, self.mapping_network, self.style_encoder, self.discriminator = (
            distributed.in_steps(network, device) for network in self.networks.values()
        )
        self._optimizers = {name: self._adam(name) for name in self.networks}
        self._pictures = StyledPictures(
            self.averages,
            latent_dim=options.latent_dim,
            fixed_inputs=fixed_inputs.to(device),
            masks=masks,
            autocast=self._autocast,
        )
        self._record_anew()

    def _record_anew(self) -> None:
        recordable = all(optimizer.can_be_recorded for optimizer in self._optimizers.values())
        accelerator = self._accelerator if recordable else None
        self._learn_to_rebuild = RecordedPart(self._rebuild, accelerator)
        self._improve_all = RecordedPart(self._play, accelerator)

    def _adam(self, name: str) -> Adam:
        options = self.options
        return Adam(
            self.networks[name].parameters(),
            lr=options.f_lr if name == "mapping_network" else options.lr,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
            recorded=self._accelerator is not None,
        )

    def lambda_ds(self, progress: int) -> float:
        """The weight of the diversity loss after ``progress`` steps; it falls linearly to 0 once the loss is used."""
        used = max(0, progress - self.options.identity_steps)
        return self.options.lambda_ds * max(0.0, 1.0 - used / self.options.ds_iter)

    def step(self, batch: GuidedBatch, progress: int) -> Terms:
        """Train once with both kinds of guide; the losses as ``D_latent_real``, ``G_reference_cyc`` and so on.

        The next step may put its own losses in their place.
        """
        parts = [part.to(self.device, non_blocking=True) for part in batch]
        if progress < self.options.identity_steps:
            return self._learn_to_rebuild(*parts)
        # A tensor, because a number would be recorded as it is now. It is filled on the device: a copy would wait.
        lambda_ds = torch.full((), self.lambda_ds(progress), device=self.device)
        return self._improve_all(lambda_ds, *parts)

    def _follow(self) -> None:
        for name in AVERAGED:
            follow(self.averages[name], self.networks[name], self.options.ema_beta)

    def _rebuild(self, *parts: torch.Tensor) -> Terms:
        """Train generator and encoder to rebuild pictures. Short trainings then learn styles sooner."""
        batch = GuidedBatch(*parts)
        with self._autocast():
            s_org = self.style_encoder(batch.x_src, batch.y_org)
            x_rec = self.generator(batch.x_src, s_org, self._masks(batch.x_src))
            loss = (x_rec - batch.x_src).abs().mean()
        self._improve(loss, ("generator", "style_encoder"))
        self._follow()
        return {"G_identity": loss.detach()}

    def _play(self, lambda_ds: torch.Tensor, *parts: torch.Tensor) -> Terms:
        """Train with both kinds of guide; ``lambda_ds`` is the weight of the diversity loss, a scalar."""
        batch = GuidedBatch(*parts)
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

        def translated(guide: str) -> Translated:
            with self._autocast():
                s = guides[guide][0]()
                return s, self.generator(batch.x_src, s, source_masks)

        latent = translated("latent")  # stays the same until the first step of the generator, which takes it, too
        losses = self._improve_discriminator(batch, latent, "D_latent")
        with torch.no_grad():
            reference = translated("reference")
        losses |= self._improve_discriminator(batch, reference, "D_reference")
        for guide, (_, s_trg2) in guides.items():
            # As in the paper's code, the step with references trains the generator alone: the encoder must not make
            # its own task easy.
            trained = AVERAGED if guide == "latent" else ("generator",)
            with self._frozen_but(trained):
                made = latent if guide == "latent" else translated(guide)
                losses |= self._improve_generator(batch, source_masks, made, s_trg2, f"G_{guide}", trained, lambda_ds)
        self._follow()
        return losses

    def _improve_discriminator(self, batch: GuidedBatch, translated: Translated, name: str) -> Terms:
        with self._autocast():
            terms = discriminator_terms(self._judge, translated[1], batch.x_src, batch.y_org, batch.y_trg)
        loss = terms["real"] + terms["fake"] + self.options.lambda_reg * terms["reg"]
        self._improve(loss, ("discriminator",))
        return _named(name, terms)

    def _improve_generator(
        self,
        batch: GuidedBatch,
        source_masks: Masks | None,
        translated: Translated,
        s_trg2: EncodeStyle,
        name: str,
        trained: tuple[str, ...],
        lambda_ds: torch.Tensor,
    ) -> Terms:
        options = self.options
        domains = (batch.x_src, batch.y_org, batch.y_trg)
        with self._autocast():
            terms = generator_terms(
                self._judge,
                self.generator,
                self.style_encoder,
                *translated,
                s_trg2,
                *domains,
                source_masks=source_masks,
                masks=self._masks,
            )
        loss = (
            terms["adv"]
            + options.lambda_sty * terms["sty"]
            - (lambda_ds * terms["ds"]).to(terms["ds"].dtype)
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

    def film(self) -> list[Picture]:
        return self._pictures.film()

    def evaluate(self, held_out: Sequence[torch.Tensor]) -> Evaluation:
        return self._pictures.evaluate(held_out)

    def sample(self, domains: Sequence[str]) -> tuple[list[SampleRow], Translations]:
        return self._pictures.sample(domains)

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
        self._record_anew()

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


def _autocast(device: str, precision: str) -> contextlib.AbstractContextManager[Any]:
    # Not a method: what makes the samples holds this, and the trainer, with all its memory on a GPU, would hold itself.
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def _named(prefix: str, terms: Terms) -> Terms:
    return {f"{prefix}_{name}": term.detach() for name, term in terms.items()}
