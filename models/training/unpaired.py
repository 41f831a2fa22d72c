"""What the trainers on unpaired pictures have in common: where tensors lie, how they compute, and the learning rate."""

import contextlib
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NotRequired, TypedDict, Unpack

import torch
from torch import nn

from models import gpu_layers
from models.cyclegan.losses import GAN_LOSSES
from models.cyclegan.networks import balance_upsampling
from models.pictures import Picture
from models.serving.accelerator import Accelerator
from models.store.model_card import CycleGANNetwork
from models.store.unpaired_options import UnpairedChoices
from models.training import distributed
from models.training.adam import Adam
from models.training.cpu_layers import quicken
from models.training.recorded_part import recorder
from models.weights.architecture import Arguments, StateDict


def generator_arguments(options: UnpairedChoices) -> Arguments:
    """The constructor arguments of a run's generators."""
    return options.model_dump(include=set(CycleGANNetwork.model_fields))


class Conditions(TypedDict):
    """What a trainer is given beside the run's options.

    Attributes:
        fixed_inputs: (N, 3, S, S) pictures of each domain for samples, float32 in [-1, 1]. N may differ.
        constant_steps: number of steps at the full learning rate.
        decay_steps: number of steps after them, over which it falls linearly to 0.
        accelerator: records the step; None: the GPU, if that is the device.
    """

    device: torch.device
    fixed_inputs: Sequence[torch.Tensor]
    constant_steps: int
    decay_steps: int
    accelerator: NotRequired[Accelerator | None]


class UnpairedTrainer:
    """The base of both trainers.

    Attributes:
        networks: all that are trained, by name.
        generators: the names of those that translate.
    """

    networks: nn.ModuleDict
    generators: ClassVar[Sequence[str]]

    def __init__(self, options: UnpairedChoices, **conditions: Unpack[Conditions]) -> None:
        self.options = options
        self.device = device = conditions["device"]
        # What is dropped is drawn anew each time.
        self._accelerator = None if options.dropout else recorder(device, conditions.get("accelerator"))
        self.constant_steps = conditions["constant_steps"]
        self.decay_steps = conditions["decay_steps"]
        if device.type == "cuda":
            self._memory_format = gpu_layers.memory_format(device)
        else:
            # On a CPU in float32, a step at ngf 64 takes about 8 % longer with channels last; at ngf 32, 5 % less.
            plain = options.precision == "fp32" and device.type == "cpu"
            self._memory_format = torch.contiguous_format if plain else torch.channels_last
        self._fixed_inputs = tuple(self._place(x) for x in conditions["fixed_inputs"])
        self._gan_loss = GAN_LOSSES[options.gan_loss]

    def _settle(self) -> None:
        """Bring the networks, which have their first weights, to the device, in the form in which they train there."""
        if self.device.type == "cpu":
            quicken(self.networks, convolutions=self.options.precision == "fp32")
        self.networks.to(self.device).to(memory_format=self._memory_format)
        self._keep_balance()

    def _keep_balance(self) -> None:
        if self.options.balanced_upsampling:
            for name in self.generators:
                balance_upsampling(self.networks[name])

    def _adam(self, *networks: nn.Module) -> Adam:
        parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
        betas = self.options.beta1, self.options.beta2
        return Adam(parameters, lr=self.options.lr, betas=betas, recorded=self._accelerator is not None)

    def _place(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.device, non_blocking=True, memory_format=self._memory_format)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.options.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _as_in_service(self, *generators: nn.Module) -> Iterator[None]:
        """No dropout, and batch normalisation by its running statistics."""
        for generator in generators:
            generator.eval()
        try:
            yield
        finally:
            for generator in generators:
                generator.train()

    def _begin_step(self, progress: int, *optimizers: Adam) -> None:
        """Set the learning rate, and the seed of what is dropped."""
        if self.options.dropout:  # it depends on the step alone, so that a resumed run drops the same
            torch.manual_seed(zlib.crc32(f"{self.options.seed}/{progress}/{distributed.rank()}".encode()))
        lr = self.learning_rate(progress)
        for optimizer in optimizers:
            optimizer.set_rate(lr)

    def learning_rate(self, progress: int) -> float:
        """The learning rate for the step after ``progress`` steps: constant, then falling linearly to 0."""
        done = max(0, progress - self.constant_steps)
        return self.options.lr * (1.0 - done / self.decay_steps if self.decay_steps else 1.0)

    def rates(self, progress: int) -> dict[str, float]:
        return {"learning_rate": self.learning_rate(progress)}

    @staticmethod
    def _improve(optimizer: torch.optim.Optimizer, terms: Mapping[str, torch.Tensor]) -> None:
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _even(self) -> float:
        """The loss of a discriminator that can't tell real from generated pictures at all."""
        return 0.25 if self.options.gan_loss == "lsgan" else math.log(2)

    def film(self) -> list[Picture]:
        return []  # there are no styles


def in_float16(state: StateDict) -> StateDict:
    """Weights in the precision in which they are published."""
    return {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
