"""Trains a CUT: a generator of one direction, the heads that compare its patches, and a discriminator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from models import gpu_layers, pixels
from models.cut.losses import generator_losses
from models.cut.patches import PatchHeads, PatchTranslator, draw_places, encoder_layers, init_xavier, mirrored_places
from models.cyclegan.losses import discriminator_loss, distance
from models.cyclegan.networks import PatchDiscriminator, ResnetGenerator
from models.store.cut_options import CUTOptions
from models.store.samples import SampleRow
from models.training import distributed
from models.training.alarms import Translations
from models.training.augmentation import Augmenter
from models.training.data import seeded
from models.training.evaluation import Evaluation
from models.training.recorded_part import RecordedPart
from models.training.unpaired import Conditions, UnpairedTrainer, generator_arguments, in_float16
from models.weights import doctor
from models.weights.architecture import CYCLEGAN

NETWORKS = ("generator", "heads", "discriminator")


class CUTTrainer(UnpairedTrainer):
    """Takes the step of the paper's code: the discriminator, then the generator together with the heads.

    Which patches are compared and what is mirrored depends on the seed and the step alone, so that a resumed run
    draws the same.
    """

    options: CUTOptions
    generators = ("generator",)

    def __init__(self, options: CUTOptions, **conditions: Unpack[Conditions]) -> None:
        super().__init__(options, **conditions)
        self._source, self._target = (0, 1) if options.direction == "AtoB" else (1, 0)
        torch.manual_seed(options.seed)
        form: dict[str, Any] = generator_arguments(options)
        generator = ResnetGenerator(**form)
        translator = PatchTranslator(generator, encoder_layers(options.n_blocks, antialias=options.antialias))
        # (C, h, w) of the features that are compared
        self.patch_shapes = translator.feature_shapes(options.image_size)
        self.networks = nn.ModuleDict(
            {
                "generator": generator,
                "heads": PatchHeads([shape[0] for shape in self.patch_shapes], options.patch_dim),
                "discriminator": PatchDiscriminator(options.ndf, norm=options.norm, antialias=options.antialias),
            }
        )
        init_xavier(self.networks)
        self._settle()
        self.translator = gpu_layers.quickest(translator, self.device, unbiased=False)  # the heads see what biases do
        self._translate = distributed.shared(self.translator)
        self.heads = distributed.shared(self.networks["heads"])
        self.discriminator = distributed.in_steps(self.networks["discriminator"], self.device)
        self._optimizer_g = self._adam(self.networks["generator"], self.networks["heads"])
        self._optimizer_d = self._adam(self.networks["discriminator"])
        self._augment = Augmenter(options, self.device)
        self._record_anew()

    def _record_anew(self) -> None:
        recordable = self._optimizer_g.can_be_recorded and self._optimizer_d.can_be_recorded
        self._improve_all = RecordedPart(self._play, self._accelerator if recordable else None)

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], progress: int) -> dict[str, torch.Tensor]:
        """Train on (N, 3, S, S) pictures of each domain, float32 in [-1, 1]; the losses by name, each a scalar.

        The next step may put its own losses in their place.
        """
        source, target = (self._place(batch[n]) for n in (self._source, self._target))
        self._begin_step(progress, self._optimizer_g, self._optimizer_d)
        if progress < self.options.identity_steps:
            return self._step_identity(torch.cat([source, target]))
        random = seeded(self.options.seed, "patches", progress, distributed.rank())
        mirrored = self.options.flip_equivariance and bool(torch.rand((), generator=random) < 0.5)
        places = draw_places(self.patch_shapes, self.options.patches, random)
        pictures = torch.cat([source, target]) if self.options.identity_nce else source
        shown = pictures.flip(3) if mirrored else pictures
        seen_at = mirrored_places(self.patch_shapes, places) if mirrored else places
        numbers = self._augment.draw(progress, sets=3, count=len(source))
        return self._improve_all(pictures, shown, target, *(at.to(self.device) for at in (*places, *seen_at)), *numbers)

    def _step_identity(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Train the generator to leave pictures as they are, as CycleGAN's ``identity_steps`` do."""
        with self._autocast():
            made, _ = self._translate(pictures)
            terms = {"g_identity": distance(pictures, made, 1.0)}
        self._improve(self._optimizer_g, terms)
        self._keep_balance()
        return {name: term.detach() for name, term in terms.items()}

    def _play(
        self, pictures: torch.Tensor, shown: torch.Tensor, target: torch.Tensor, *drawn: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Train on sources and, after them, pictures of the target domain that are to stay.

        Args:
            shown: the pictures as they are translated, perhaps mirrored.
            target: what the discriminator is shown as real.
            drawn: the places of the patches in the pictures, then in those that are shown, for each layer. After them,
                if what is judged is changed, what decides how: of the real and the generated pictures as the
                discriminator is trained on them, and of the generated ones as the generator is.
        """
        count = len(self.patch_shapes)
        places, numbers = drawn[: 2 * count], drawn[2 * count :]
        sources = len(target)
        discriminator = self.networks["discriminator"].requires_grad_(True)
        with self._autocast():
            made, seen = self._translate(shown)
            real, fake = target, made[:sources].detach()
            if numbers:
                real, fake = map(self._augment, (real, fake), numbers)
            judged = {"d": discriminator_loss(self.discriminator, real, fake, self._gan_loss)}
        self._improve(self._optimizer_d, judged)
        discriminator.requires_grad_(False)
        with self._autocast():
            with torch.no_grad():
                features = self.translator.encode(pictures) if self.options.flip_equivariance else seen
                keys = self.networks["heads"](features, places[:count])
            terms = generator_losses(
                (lambda fake: self.discriminator(self._augment(fake, numbers[2]))) if numbers else self.discriminator,
                self.heads,
                self.translator.encode,
                made,
                keys,
                places[count:],
                sources=sources,
                gan_loss=self._gan_loss,
                lambda_nce=self.options.lambda_nce,
                temperature=self.options.temperature,
            )
        self._improve(self._optimizer_g, terms)
        self._keep_balance()
        return {name: term.detach() for name, term in (terms | judged).items()}

    @property
    def undecided(self) -> dict[str, dict[str, float]]:
        """The loss of the discriminator when it can't tell real from generated pictures at all."""
        return {"discriminator": {"d": self._even()}}

    @torch.no_grad()
    def evaluate(self, held_out: Sequence[torch.Tensor]) -> Evaluation:
        """Translate (N, 3, S, S) held-out pictures of the source domain."""
        made = []
        for picture in torch.split(held_out[self._source], 1):
            with self._as_in_service(self.networks["generator"]), self._autocast():
                made.append(self.networks["generator"](self._place(picture)).float().cpu())
        generated: list[torch.Tensor | None] = [None, None]
        generated[self._target] = torch.cat(made)
        return Evaluation(real=held_out, cycled=[None, None], generated=generated)

    @torch.inference_mode()
    def sample(self, domains: Sequence[str]) -> tuple[list[SampleRow], Translations]:
        """The fixed inputs of the source domain, and what is made of them."""
        x = self._fixed_inputs[self._source]
        with self._as_in_service(self.networks["generator"]), self._autocast():
            made = self.networks["generator"](x).float()
        source, target = domains[self._source], domains[self._target]
        rows = [
            SampleRow(source, "input", pixels.to_pictures(x)),
            SampleRow(f"{source} → {target}", "output", pixels.to_pictures(made), source),
        ]
        return rows, {(self._source, self._target): (x, made)}

    def exports(self) -> dict[str, dict[str, torch.Tensor]]:
        """The generator's weights in float16, for publication."""
        return {"model": in_float16(self.networks["generator"].state_dict())}

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: self.networks[name].state_dict() for name in NETWORKS},
            "optimizer_g": self._optimizer_g.state_dict(),
            "optimizer_d": self._optimizer_d.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start_from(state)
        self._optimizer_g.load_state_dict(state["optimizer_g"])
        self._optimizer_d.load_state_dict(state["optimizer_d"])
        self._record_anew()

    def start_from(self, state: dict[str, Any]) -> None:
        """Start a new run from the networks of another one (fine-tuning)."""
        for name in NETWORKS:
            self.networks[name].load_state_dict(state[name])

    def start_from_weights(self, path: Path) -> None:
        """Start a new run with published weights in the generator.

        Raises:
            CheckpointError: the weights belong to a generator of other sizes.
        """
        state = doctor.load_exactly(path, CYCLEGAN, generator_arguments(self.options)).state
        self.networks["generator"].load_state_dict(state)
