"""What a training run takes: parameters, arithmetic and memory, counted on the networks themselves.

The networks are built on torch's meta device, where tensors have shapes but no values, and each makes one forward and
one backward pass. No picture is read, and nothing is computed.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from models.errors import Invalid
from models.landmarks.network import SIDE, LandmarkNetwork
from models.stargan_v2.losses import r1_penalty
from models.stargan_v2.networks import everywhere
from models.store.cut_options import CUTChoices, CUTOptions
from models.store.options import (
    CHOICES,
    Choices,
    CycleGANChoices,
    CycleGANOptions,
    StarGANChoices,
    StarGANOptions,
)
from models.store.run_choices import RunChoices
from models.training.arithmetic import FlopCounterMode
from models.training.cpu_layers import Conv3x3
from models.training.cut import CUTTrainer
from models.training.cyclegan import CycleGANTrainer
from models.training.stargan_v2 import AVERAGED, StarGANTrainer

FLOAT_BYTES = 4  # in bfloat16 a run takes less
COPIES = 5  # of every parameter: its value, its gradient, Adam's two moments, and one while it is converted or saved
MARGIN = 1.15  # for the gradients of activations, and for what convolutions need besides their results
OVERHEAD_MB = 800  # of a process that has loaded PyTorch, with what its allocator leaves unused

META = torch.device("meta")


@dataclass(frozen=True)
class Estimate:
    """What a run takes."""

    parameters: dict[str, int]  # of each network
    flop_per_step: float  # of the whole batch
    memory_mb: int  # of each process, with its share of the batch, on an accelerator
    cpu_memory_mb: int  # the same on a CPU, whose convolutions keep more (models/training/cpu_layers.py)


@dataclass(frozen=True)
class Pass:
    """What one picture's way through a network costs."""

    forward_flop: float
    backward_flop: float
    kept_bytes: float  # activations that the backward pass needs
    replaceable: list[tuple[nn.Conv2d, torch.Size]]  # convolutions that compute otherwise on a CPU; of their results

    def kept_by(self, share: int) -> float:
        """Bytes for as many pictures at once."""
        return share * self.kept_bytes

    def kept_on_cpu_by(self, share: int) -> float:
        """The same on a CPU."""
        more = sum(Conv3x3.kept_numbers(layer, share, *shape[2:]) for layer, shape in self.replaceable)
        return self.kept_by(share) + FLOAT_BYTES * more

    @property
    def flop(self) -> float:
        return self.forward_flop + self.backward_flop


def estimate(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Estimate what several runs take.

    Args:
        requests: of each run what :func:`models.store.options.sizes` returns.

    Returns:
        The fields of :class:`Estimate` for each request, in their order.

    Raises:
        Invalid: an option is unknown, or its value can't be used.
    """
    estimates = []
    for request in requests:
        sizes = dict(request)
        family, num_domains = sizes.pop("family"), sizes.pop("num_domains")
        try:
            choices = CHOICES[family](**sizes)
        except ValidationError as error:
            raise Invalid(f"A run with {sizes} can't be estimated: {error}") from error
        estimates.append(asdict(estimate_run(choices, num_domains)))
    return estimates


def estimate_run(choices: Choices, num_domains: int = 2) -> Estimate:
    """Estimate what a run takes.

    Parameters are exact. Arithmetic is that of convolutions and matrix products, which are nearly all of it. Memory
    errs on the high side.
    """
    with META, torch.random.fork_rng(devices=[]):
        if isinstance(choices, StarGANChoices):
            return _stargan(choices, num_domains)
        return _cut(choices) if isinstance(choices, CUTChoices) else _cyclegan(choices)


def _cyclegan(choices: CycleGANChoices) -> Estimate:
    side = choices.image_size
    options = CycleGANOptions(**{"dataset": Path()} | _in_float32(choices))
    trainer = CycleGANTrainer(
        options, device=META, fixed_inputs=(_pictures(side), _pictures(side)), constant_steps=1, decay_steps=0
    )
    generator = measured(trainer.g_ab, lambda: trainer.g_ab(_pictures(side)))
    look, judged, judging = _judging(trainer, side)
    # Each generator translates, rebuilds and, with the identity loss, repeats.
    cycles = (choices.lambda_a > 0) + (choices.lambda_b > 0)
    passes = 2 + cycles + (2 if cycles and choices.lambda_identity else 0)
    flop = passes * generator.flop + 2 * judging
    # Looks at a generated picture with a gradient: one for all, unless its discriminator's are at a changed picture.
    followed = 2 if choices.projected and choices.lambda_content and choices.augmentations else 1
    if look is not None:
        looks = 2 * choices.projected + (choices.lambda_content > 0)  # without a gradient
        flop += 2 * (followed * look.flop + looks * look.forward_flop)

    def kept(of: Callable[[Pass], float]) -> float:
        return passes * of(generator) + 2 * of(judged) + (0 if look is None else 2 * followed * of(look))

    pools = 2 * choices.pool_size * _picture_bytes(side)
    known = 0 if trainer.see is None else FLOAT_BYTES * _count(trainer.see)
    averages = FLOAT_BYTES * _count(trainer.averages)
    fixed = pools + known + averages + _held_out_bytes(choices, side, 2)
    return _total(choices, trainer.networks, flop, kept, fixed)


def _judging(trainer: CycleGANTrainer, side: int) -> tuple[Pass | None, Pass, float]:
    """What it costs to look at a picture's features, if the run does; to judge one; and all that is judged in a step.

    A discriminator judges a generated picture for its generator, which needs no gradients of its weights, then a real
    and a generated one for itself.
    """
    see, judge = trainer.see, trainer.d_a
    look = None if see is None else measured(see, lambda: _sum(see(_pictures(side))))
    if see is None or not trainer.options.projected:
        judged = measured(judge, lambda: judge(_pictures(side)))
        return look, judged, judged.forward_flop + judged.backward_flop / 2 + 2 * judged.flop
    features = [one.detach() for one in see(_pictures(side))]
    for_itself = measured(judge, lambda: _sum(judge(features)))
    judge.requires_grad_(False)
    for_generator = measured(judge, lambda: _sum(judge([one.requires_grad_() for one in features])))
    judge.requires_grad_(True)
    return look, for_generator, for_generator.flop + 2 * for_itself.flop


def _sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([part.sum() for part in parts]).sum()


def _cut(choices: CUTChoices) -> Estimate:
    side = choices.image_size
    options = CUTOptions(**{"dataset": Path()} | _in_float32(choices))
    trainer = CUTTrainer(
        options, device=META, fixed_inputs=(_pictures(side), _pictures(side)), constant_steps=1, decay_steps=0
    )
    generator = measured(trainer.translator, lambda: trainer.translator(_pictures(side))[0])
    encoder = measured(trainer.translator, lambda: _joined(trainer.translator.encode(_pictures(side))))
    discriminator = measured(trainer.discriminator, lambda: trainer.discriminator(_pictures(side)))
    vectors = [torch.zeros(1, shape[0], 1, choices.patches, requires_grad=True) for shape in trainer.patch_shapes]
    all_places = [torch.arange(choices.patches)] * len(vectors)
    heads = measured(trainer.heads, lambda: _joined(trainer.heads(vectors, all_places)))
    # Sources and, with the identity loss, as many pictures of the target domain are translated, and the patches of what
    # is made are compared with theirs, which are read again only where the translated ones are mirrored.
    pictures = 2 if choices.identity_nce else 1
    compared = generator.flop + encoder.flop + heads.flop + heads.forward_flop
    if choices.flip_equivariance:
        compared += encoder.forward_flop
    flop = pictures * compared + 2 * discriminator.flop
    flop += discriminator.forward_flop + discriminator.backward_flop / 2

    def kept(of: Callable[[Pass], float]) -> float:
        return pictures * (of(generator) + of(encoder) + of(heads)) + 2 * of(discriminator)

    return _total(choices, trainer.networks, flop, kept, _held_out_bytes(choices, side, 2))


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in parts])


def _stargan(choices: StarGANChoices, num_domains: int) -> Estimate:
    side = choices.img_size
    options = StarGANOptions(**{"dataset": Path(), "landmarks": Path()} | _in_float32(choices))
    trainer = StarGANTrainer(
        options, device=META, fixed_inputs=_pictures(side)[None].expand(num_domains, -1, -1, -1, -1), masks=everywhere
    )
    y = torch.zeros(1, dtype=torch.int64)
    s = torch.zeros(1, choices.style_dim, requires_grad=True)
    z = torch.zeros(1, choices.latent_dim)
    masks = everywhere(_pictures(side)) if choices.w_hpf else None
    generator = measured(trainer.generator, lambda: trainer.generator(_pictures(side), s, masks))
    mapping = measured(trainer.mapping_network, lambda: trainer.mapping_network(z, y))
    encoder = measured(trainer.style_encoder, lambda: trainer.style_encoder(_pictures(side), y))
    discriminator = measured(trainer.discriminator, lambda: trainer.discriminator(_pictures(side), y))
    penalized = measured(trainer.discriminator, lambda: _penalty(trainer.discriminator, _pictures(side), y))
    # The discriminator judges real pictures, with a penalty on its gradient, and generated ones. The generator makes a
    # picture, a second one without a gradient, and the source again; all are judged or encoded. Each happens with a
    # latent code and with a reference. Networks that are not trained then need no gradients of their weights, and the
    # style encoder is trained with latent codes alone. What is made with a latent code serves both.
    judging = 2 * (penalized.flop + discriminator.flop) + generator.forward_flop
    judged = discriminator.forward_flop + discriminator.backward_flop / 2
    encoding = 2 * encoder.flop + 2 * encoder.forward_flop + encoder.backward_flop / 2
    making = 2 * (2 * generator.flop + generator.forward_flop + judged) + encoding
    styles = mapping.flop + mapping.forward_flop + 3 * encoder.forward_flop
    flop = judging + making + styles

    def kept(of: Callable[[Pass], float]) -> float:
        return max(
            of(generator) + of(penalized) + of(discriminator), 2 * of(generator) + of(discriminator) + 3 * of(encoder)
        )

    averages = FLOAT_BYTES * sum(_count(trainer.networks[name]) for name in AVERAGED)
    fixed = averages + _held_out_bytes(choices, side, num_domains)
    if choices.needs_landmarks:
        mask_flop, mask_bytes = _landmark_network()
        flop += 3 * mask_flop  # of the sources, and of what is generated with either guide
        fixed += mask_bytes
    return _total(choices, trainer.networks, flop, kept, fixed)


@functools.cache
def _landmark_network() -> tuple[float, float]:
    """Arithmetic for the masks of one picture, and bytes of weights. The network has one size, whatever the run's."""
    network = LandmarkNetwork().requires_grad_(False).eval()
    masks = measured(network, lambda: network.masks(_pictures(SIDE))[0])
    return masks.forward_flop, float(FLOAT_BYTES * _count(network))


def _penalty(discriminator: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x = x.clone()  # the counter can't follow a gradient with respect to a leaf
    logits: torch.Tensor = discriminator(x, y)
    return logits.sum() + r1_penalty(logits, x)


def _in_float32(choices: RunChoices) -> dict[str, Any]:
    return choices.model_dump() | {"precision": "fp32"}  # the meta device has no autocast


def _pictures(side: int) -> torch.Tensor:
    return torch.zeros(1, 3, side, side, requires_grad=True)


def _picture_bytes(side: int) -> float:
    return float(3 * side**2 * FLOAT_BYTES)


def _held_out_bytes(choices: RunChoices, side: int, num_domains: int) -> float:
    """The held-out pictures that quality is measured on, their translations and those translated back."""
    return 3 * num_domains * choices.quality_pictures * _picture_bytes(side)


def measured(network: nn.Module, forward: Callable[[], torch.Tensor]) -> Pass:
    """Count a forward pass of one picture, and the backward pass after it where there is one."""
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = x  # held on to, so that no later tensor has the same address
        return x

    replaceable: list[tuple[nn.Conv2d, torch.Size]] = []
    hooks = [
        module.register_forward_hook(lambda layer, x, y: replaceable.append((layer, y.shape)))
        for module in network.modules()
        if Conv3x3.can_replace(module)
    ]
    with contextlib.ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook)
        counter = stack.enter_context(FlopCounterMode(display=False))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            out = forward()
        forward_flop = counter.get_total_flops()
        if out.requires_grad:
            out.sum().backward()  # type: ignore[no-untyped-call]
    return Pass(
        forward_flop=forward_flop,
        backward_flop=counter.get_total_flops() - forward_flop,
        kept_bytes=sum(x.untyped_storage().nbytes() for x in kept.values()),
        replaceable=replaceable,
    )


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _total(
    choices: Choices,
    networks: nn.ModuleDict,
    flop: float,
    kept: Callable[[Callable[[Pass], float]], float],
    fixed: float,
) -> Estimate:
    """The estimate of a run.

    Args:
        flop: of a step on one picture.
        kept: adds up the bytes of activations that are held at once, by those of each pass.
        fixed: bytes that depend neither on the batch nor on the networks' weights.
    """
    parameters = {name: _count(network) for name, network in networks.items()}
    weights = COPIES * FLOAT_BYTES * sum(parameters.values())
    share = choices.batch_size // choices.gpus

    def memory_mb(of: Callable[[Pass], float]) -> int:
        return round((weights + MARGIN * kept(of) + fixed) / 2**20) + OVERHEAD_MB

    return Estimate(
        parameters=parameters,
        flop_per_step=flop * choices.batch_size,
        memory_mb=memory_mb(lambda one: one.kept_by(share)),
        cpu_memory_mb=memory_mb(lambda one: one.kept_on_cpu_by(share)),
    )
