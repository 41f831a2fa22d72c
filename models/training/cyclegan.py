"""Trains a CycleGAN: four networks, two optimizers and two image pools."""

import contextlib
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from models import pixels
from models.cyclegan.losses import Generated, Judge, discriminator_loss, distance, generator_losses
from models.cyclegan.networks import PatchDiscriminator, ResnetGenerator, init_normal
from models.cyclegan.pool import ImagePool
from models.store.options import CycleGANOptions
from models.store.samples import Role, SampleRow
from models.training import distributed
from models.training.alarms import Translations
from models.training.augmentation import Augmenter
from models.training.averages import follow
from models.training.evaluation import Evaluation
from models.training.feature_network import FeatureNetwork
from models.training.projected import ProjectedDiscriminator
from models.training.recorded_part import RecordedPart
from models.training.unpaired import Conditions, UnpairedTrainer, generator_arguments, in_float16
from models.weights import doctor
from models.weights.architecture import CYCLEGAN

NETWORKS = ("g_ab", "g_ba", "d_a", "d_b")  # the paper's G, F, D_X, D_Y: d_b judges what g_ab makes
GENERATORS = ("g_ab", "g_ba")
DISCRIMINATORS = ("d_a", "d_b")


class CycleGANTrainer(UnpairedTrainer):
    """Takes the step of the paper's code: both generators together, then both discriminators.

    Raises:
        NotInstalled: the options need features of pictures, and the package for them is not installed.
    """

    options: CycleGANOptions
    generators = GENERATORS

    def __init__(self, options: CycleGANOptions, **conditions: Unpack[Conditions]) -> None:
        super().__init__(options, **conditions)
        torch.manual_seed(options.seed)
        form: dict[str, Any] = generator_arguments(options)
        self.networks = nn.ModuleDict(
            {
                "g_ab": ResnetGenerator(**form),
                "g_ba": ResnetGenerator(**form),
                "d_a": self._discriminator(),
                "d_b": self._discriminator(),
            }
        )
        for name in GENERATORS if options.projected else NETWORKS:
            init_normal(self.networks[name])
        self._settle()
        self.averages = nn.ModuleDict()
        if options.ema_beta:
            self.averages.update({name: copy.deepcopy(self.networks[name]) for name in GENERATORS})
            self.averages.requires_grad_(False)
        self.see: FeatureNetwork | None = None
        if options.needs_features:
            self.see = FeatureNetwork().to(self.device).to(memory_format=self._memory_format)
        self.g_ab, self.g_ba, self.d_a, self.d_b = (
            distributed.in_steps(self.networks[name], self.device) for name in NETWORKS
        )
        self._optimizer_g = self._adam(self.g_ab, self.g_ba)
        self._optimizer_d = self._adam(self.d_a, self.d_b)
        self._augment = Augmenter(options, self.device)
        self._pool_a = ImagePool(options.pool_size, seed=options.seed)
        self._pool_b = ImagePool(options.pool_size, seed=options.seed + 1)
        self._record_anew()

    def _record_anew(self) -> None:
        recordable = self._optimizer_g.can_be_recorded and self._optimizer_d.can_be_recorded
        accelerator = self._accelerator if recordable else None
        self._improve_generators = RecordedPart(self._play, accelerator)
        self._improve_discriminators = RecordedPart(self._judge, accelerator)

    def _discriminator(self) -> nn.Module:
        if self.options.projected:
            return ProjectedDiscriminator()
        return PatchDiscriminator(self.options.ndf, norm=self.options.norm, antialias=self.options.antialias)

    @property
    def _generators(self) -> nn.ModuleDict:
        """The generators whose pictures count: the averages, if they are kept."""
        return self.averages or self.networks

    def _translating(self) -> contextlib.AbstractContextManager[None]:
        return self._as_in_service(*(self._generators[name] for name in GENERATORS))

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], progress: int) -> dict[str, torch.Tensor]:
        """Train on (N, 3, S, S) pictures of each domain, float32 in [-1, 1]; the losses by name, each a scalar.

        The next step may put its own losses in their place.
        """
        real_a, real_b = (self._place(x) for x in batch)
        self._begin_step(progress, self._optimizer_g, self._optimizer_d)
        begins = progress < self.options.identity_steps
        terms = self._step_identity(real_a, real_b) if begins else self._step_game(real_a, real_b, progress)
        for name, average in self.averages.items():
            follow(average, self.networks[name], self.options.ema_beta)
        return terms

    def _step_identity(self, real_a: torch.Tensor, real_b: torch.Tensor) -> dict[str, torch.Tensor]:
        """Train the generators to leave pictures as they are.

        A short training that starts like this keeps the structure of pictures from the beginning (Chen et al., 2018,
        "CartoonGAN", section 3.2).
        """
        both = torch.cat([real_a, real_b])
        with self._autocast():
            terms = {
                "g_ab_identity": distance(both, self.g_ab(both), self.options.color_share),
                "g_ba_identity": distance(both, self.g_ba(both), self.options.color_share),
            }
        self._improve(self._optimizer_g, terms)
        self._keep_balance()
        return {name: term.detach() for name, term in terms.items()}

    def _step_game(self, real_a: torch.Tensor, real_b: torch.Tensor, progress: int) -> dict[str, torch.Tensor]:
        numbers = self._augment.draw(progress, sets=6, count=len(real_a))
        terms, generated = self._improve_generators(real_a, real_b, *numbers[:2])
        fake_a = self._history(self._pool_a, generated.fake_a)
        fake_b = self._history(self._pool_b, generated.fake_b)
        return terms | self._improve_discriminators(real_a, real_b, fake_a, fake_b, *numbers[2:])

    def _play(
        self, real_a: torch.Tensor, real_b: torch.Tensor, *numbers: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], Generated]:
        """Train the generators.

        Args:
            numbers: what decides how generated pictures of A and of B are changed before they are judged, if they are.
        """
        self._train_discriminators(False)
        d_a: Judge = self.d_a
        d_b: Judge = self.d_b
        see, projected = self.see, self.options.projected
        if numbers:  # then the features that are judged are not those of the content
            d_a, d_b = map(self._of_changed, (d_a, d_b), numbers)
            see, projected = see if self.options.lambda_content else None, False
        with self._autocast():
            terms, generated = generator_losses(
                self.g_ab,
                self.g_ba,
                d_a,
                d_b,
                real_a,
                real_b,
                gan_loss=self._gan_loss,
                lambda_a=self.options.lambda_a,
                lambda_b=self.options.lambda_b,
                lambda_identity=self.options.lambda_identity,
                color_share=self.options.color_share,
                lambda_content=self.options.lambda_content,
                see=see,
                projected=projected,
            )
        self._improve(self._optimizer_g, terms)
        self._keep_balance()
        return {name: term.detach() for name, term in terms.items()}, generated

    def _of_changed(self, discriminator: Judge, numbers: torch.Tensor) -> Judge:
        """A discriminator, with the network whose features it judges, of pictures that are changed first."""
        see = self.see if self.options.projected else None

        def judge(pictures: torch.Tensor) -> torch.Tensor | Sequence[torch.Tensor]:
            changed = self._augment(pictures, numbers)
            return discriminator(changed if see is None else see(changed))

        return judge

    def _train_discriminators(self, trained: bool) -> None:
        for name in DISCRIMINATORS:
            self.networks[name].requires_grad_(trained)  # not the wrapper, which would train fixed weights too

    def _judge(
        self,
        real_a: torch.Tensor,
        real_b: torch.Tensor,
        fake_a: torch.Tensor,
        fake_b: torch.Tensor,
        *numbers: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Train the discriminators.

        Args:
            numbers: what decides how the pictures are changed before they are judged, for each argument, if they are.
        """
        self._train_discriminators(True)
        if numbers:
            real_a, real_b, fake_a, fake_b = map(self._augment, (real_a, real_b, fake_a, fake_b), numbers)
        see = self.see if self.options.projected else None
        with self._autocast():
            judged = {
                "d_b": discriminator_loss(self.d_b, real_b, fake_b, self._gan_loss, see),
                "d_a": discriminator_loss(self.d_a, real_a, fake_a, self._gan_loss, see),
            }
        self._improve(self._optimizer_d, judged)
        return {name: term.detach() for name, term in judged.items()}

    @staticmethod
    def _history(pool: ImagePool, fakes: torch.Tensor) -> torch.Tensor:
        """Exchange fresh pictures through the pool. Every process keeps the same pool, with the pictures of all."""
        share = len(fakes)
        first = distributed.rank() * share
        return pool.query(distributed.gathered(fakes))[first : first + share]

    @property
    def undecided(self) -> dict[str, dict[str, float]]:
        """The loss of each discriminator when it can't tell real from generated pictures at all."""
        return {name: {name: self._even()} for name in DISCRIMINATORS}

    @torch.no_grad()
    def evaluate(self, held_out: Sequence[torch.Tensor]) -> Evaluation:
        """Translate (N, 3, S, S) held-out pictures of A and of B, there and back."""
        g_ab, g_ba = (self._generators[name] for name in GENERATORS)
        made, cycled = [], []
        for x, there, back in zip(held_out, (g_ab, g_ba), (g_ba, g_ab), strict=True):
            fakes, returned = [], []
            for picture in torch.split(x, 1):
                with self._translating(), self._autocast():
                    fake = there(self._place(picture))
                    returned.append(back(fake).float().cpu())
                fakes.append(fake.float().cpu())
            made.append(torch.cat(fakes))
            cycled.append(torch.cat(returned))
        return Evaluation(real=held_out, cycled=cycled, generated=made[::-1])  # pictures of A were translated into B

    @torch.inference_mode()
    def sample(self, domains: Sequence[str]) -> tuple[list[SampleRow], Translations]:
        """The fixed inputs of A, translated, and translated back; then the same for B."""
        x_a, x_b = self._fixed_inputs
        g_ab, g_ba = (self._generators[name] for name in GENERATORS)
        a, b = domains
        with self._translating(), self._autocast():
            fake_b, fake_a = g_ab(x_a), g_ba(x_b)
            rec_a, rec_b = g_ba(fake_b), g_ab(fake_a)
        rows: list[tuple[str, Role, torch.Tensor, str | None]] = [
            (a, "input", x_a, None),
            (f"{a} → {b}", "output", fake_b, a),
            (f"{a} → {b} → {a}", "cycle", rec_a, a),
            (b, "input", x_b, None),
            (f"{b} → {a}", "output", fake_a, b),
            (f"{b} → {a} → {b}", "cycle", rec_b, b),
        ]
        translations = {(0, 1): (x_a, fake_b.float()), (1, 0): (x_b, fake_a.float())}
        return [SampleRow(label, role, pixels.to_pictures(x), source) for label, role, x, source in rows], translations

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: self.networks[name].state_dict() for name in NETWORKS},
            **({"averages": self.averages.state_dict()} if self.averages else {}),
            "optimizer_g": self._optimizer_g.state_dict(),
            "optimizer_d": self._optimizer_d.state_dict(),
            "pool_a": self._pool_a.state_dict(),
            "pool_b": self._pool_b.state_dict(),
        }

    def exports(self) -> dict[str, dict[str, torch.Tensor]]:
        """Direction → the weights of its generator in float16, for publication."""
        return {
            direction: in_float16(self._generators[name].state_dict())
            for direction, name in (("AtoB", "g_ab"), ("BtoA", "g_ba"))
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._load_networks(state)
        if self.averages:
            self.averages.load_state_dict(state["averages"])
        self._optimizer_g.load_state_dict(state["optimizer_g"])
        self._optimizer_d.load_state_dict(state["optimizer_d"])
        self._pool_a.load_state_dict(state["pool_a"])
        self._pool_b.load_state_dict(state["pool_b"])
        self._record_anew()

    def _load_networks(self, state: dict[str, Any]) -> None:
        for name in NETWORKS:
            self.networks[name].load_state_dict(state[name])

    def start_from(self, state: dict[str, Any]) -> None:
        """Start a new run from the networks of another one (fine-tuning), its generators from their averages if any."""
        self._load_networks(state)
        for name in GENERATORS if "averages" in state else ():
            prefix = f"{name}."
            average = {key: value for key, value in state["averages"].items() if key.startswith(prefix)}
            self.networks[name].load_state_dict({key.removeprefix(prefix): value for key, value in average.items()})
        self._average_anew()

    def start_from_weights(self, path: Path) -> None:
        """Start a new run with published weights in the generator of one direction, and of both if the options say so.

        Raises:
            CheckpointError: the weights belong to a generator of other sizes.
        """
        arguments = generator_arguments(self.options)
        there, back = GENERATORS if self.options.init_direction == "AtoB" else GENERATORS[::-1]
        for name, weights in ((there, path), (back, self.options.init_back_from)):
            if weights is not None:
                self.networks[name].load_state_dict(doctor.load_exactly(weights, CYCLEGAN, arguments).state)
        self._average_anew()

    def _average_anew(self) -> None:
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())
