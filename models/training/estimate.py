"""What a run will take, before it is begun: parameters, memory and arithmetic by the shapes of its layers. No torch.

Parameter counts are exact. Arithmetic counts convolutions and linear layers, which are nearly all of it; memory counts
weights, gradients, Adam's two moments, and what a step keeps for its backward pass, and errs on the high side.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.store.options import CycleGANChoices, RunChoices, StarGANChoices

FLOAT_BYTES = 4
KEPT_PER_LAYER = (
    3  # tensors of its output's size that a layer leaves for the backward pass: convolved, normalised, bent
)
OVERHEAD_MB = 600  # of a process that has loaded PyTorch
ASSUMED_GFLOP_PER_S = 150.0  # of two CPU cores in float32, where no run was timed yet
HIDDEN_DIM = 512  # of StarGAN's mapping network
BOTTLENECK_BLOCKS = 2


@dataclass(frozen=True)
class Layer:
    """A convolution, or with a side of 1 a linear layer."""

    dim_in: int
    dim_out: int
    kernel: int
    side: int  # px, of what comes out
    bias: bool = True
    extra: int = 0  # parameters of normalisations beside it

    @property
    def parameters(self) -> int:
        return self.dim_in * self.dim_out * self.kernel**2 + self.bias * self.dim_out + self.extra

    @property
    def flop(self) -> float:
        return 2.0 * self.dim_in * self.dim_out * self.kernel**2 * self.side**2

    @property
    def kept(self) -> float:
        """Bytes that it leaves for the backward pass, of one picture."""
        return float(KEPT_PER_LAYER * FLOAT_BYTES * self.dim_out * self.side**2)


@dataclass(frozen=True)
class Estimate:
    """Of a whole run."""

    parameters: dict[str, int]  # of each network
    flop_per_step: float
    memory_mb: int  # of one process at its share of the batch


def estimate(choices: CycleGANChoices | StarGANChoices, num_domains: int = 2) -> Estimate:
    """What a run with these choices will take."""
    return _stargan(choices, num_domains) if isinstance(choices, StarGANChoices) else _cyclegan(choices)


def _cyclegan(options: CycleGANChoices) -> Estimate:
    generator = resnet_generator(options.ngf, options.n_blocks, options.image_size)
    discriminator = patch_discriminator(options.ndf, options.image_size)
    passes = 3 if options.lambda_identity else 2  # generated, rebuilt, identity
    backward = 3  # a pass with its backward pass costs three passes
    flop = 2 * backward * (passes * _flop(generator) + 3 * _flop(discriminator))
    kept = 2 * passes * _kept(generator) + 2 * _kept(discriminator)
    parameters = {"g_ab": generator, "g_ba": generator, "d_a": discriminator, "d_b": discriminator}
    return _sum(parameters, flop, kept, options, _measured(options, options.image_size, 2), averaged=())


def _stargan(options: StarGANChoices, num_domains: int) -> Estimate:
    size, width = options.img_size, options.max_conv_dim
    base = options.base_dim or 2**14 // size
    generator = stargan_generator(size, base, width, options.style_dim, options.w_hpf, options.normalize_rgb)
    encoder = trunk(size, base, width)
    dim = encoder[-1].dim_out
    discriminator = [*encoder, Layer(dim, num_domains, 1, 1)]
    encoder = [*encoder, *[Layer(dim, options.style_dim, 1, 1)] * num_domains]
    mapping = mapping_network(options.latent_dim, options.style_dim, num_domains)
    # D judges real pictures with a penalty on its gradient, which doubles the way, and generated ones; twice. G makes a
    # picture, a second without gradient, and the first one's source again; twice.
    flop = 2 * (10 * _flop(discriminator) + _flop(generator) + _flop(encoder))
    flop += 2 * (7 * _flop(generator) + 3 * _flop(discriminator) + 6 * _flop(encoder))
    kept = max(2 * _kept(generator) + _kept(discriminator) + 2 * _kept(encoder), 3 * _kept(discriminator))
    parameters = {
        "generator": generator,
        "mapping_network": mapping,
        "style_encoder": encoder,
        "discriminator": discriminator,
    }
    averaged = ("generator", "mapping_network", "style_encoder")
    return _sum(parameters, flop, kept, options, _measured(options, size, num_domains), averaged=averaged)


def _measured(options: RunChoices, size: int, num_domains: int) -> float:
    """Bytes of the held-out pictures that quality is measured on, and of what is made of them."""
    return 3.0 * num_domains * options.quality_pictures * 3 * size**2 * FLOAT_BYTES


def _sum(
    networks: dict[str, list[Layer]],
    flop: float,
    kept: float,
    options: CycleGANChoices | StarGANChoices,
    measured: float,
    averaged: Sequence[str],
) -> Estimate:
    parameters = {name: sum(layer.parameters for layer in layers) for name, layers in networks.items()}
    weights = sum(parameters.values()) * 4 + sum(parameters[name] for name in averaged)
    share = math.ceil(options.batch_size / options.gpus)
    return Estimate(
        parameters,
        flop_per_step=flop * options.batch_size,
        memory_mb=round((weights * FLOAT_BYTES + kept * share + measured) / 2**20) + OVERHEAD_MB,
    )


def _flop(layers: list[Layer]) -> float:
    return sum(layer.flop for layer in layers)


def _kept(layers: list[Layer]) -> float:
    return sum(layer.kept for layer in layers)


def resnet_generator(ngf: int, n_blocks: int, size: int) -> list[Layer]:
    """CycleGAN's generator at pictures of ``size`` px."""
    half, quarter = size // 2, size // 4
    return [
        Layer(3, ngf, 7, size),
        Layer(ngf, 2 * ngf, 3, half),
        Layer(2 * ngf, 4 * ngf, 3, quarter),
        *[Layer(4 * ngf, 4 * ngf, 3, quarter)] * (2 * n_blocks),
        Layer(4 * ngf, 2 * ngf, 3, half),
        Layer(2 * ngf, ngf, 3, size),
        Layer(ngf, 3, 7, size),
    ]


def patch_discriminator(ndf: int, size: int) -> list[Layer]:
    """CycleGAN's discriminator."""
    return [
        Layer(3, ndf, 4, size // 2),
        Layer(ndf, 2 * ndf, 4, size // 4),
        Layer(2 * ndf, 4 * ndf, 4, size // 8),
        Layer(4 * ndf, 8 * ndf, 4, size // 8),
        Layer(8 * ndf, 1, 4, size // 8),
    ]


def stargan_generator(
    size: int, base: int, width: int, style_dim: int, w_hpf: float, normalize_rgb: bool
) -> list[Layer]:
    """StarGAN v2's generator, with the affine layers of its normalisations."""
    halvings = int(math.log2(size)) - (3 if w_hpf else 4)
    dims = [base, *(min(base * 2**n, width) for n in range(1, halvings + 1))]
    layers = [Layer(3, base, 3, size)]
    for depth, (narrow, wide) in enumerate(itertools.pairwise(dims)):
        side = size // 2**depth
        layers += _block(narrow, wide, side, side // 2, norms=4 * narrow)
        layers += _adain_block(wide, narrow, side, style_dim)
    for _ in range(BOTTLENECK_BLOCKS):
        side = size // 2**halvings
        layers += _block(dims[-1], dims[-1], side, side, norms=4 * dims[-1])
        layers += _adain_block(dims[-1], dims[-1], side, style_dim)
    return [*layers, Layer(base, 3, 1, size, extra=2 * base * normalize_rgb)]


def _block(dim_in: int, dim_out: int, side: int, side_out: int, *, norms: int) -> list[Layer]:
    layers = [Layer(dim_in, dim_in, 3, side, extra=norms), Layer(dim_in, dim_out, 3, side_out)]
    return layers + [Layer(dim_in, dim_out, 1, side, bias=False)] * (dim_in != dim_out)


def _adain_block(dim_in: int, dim_out: int, side: int, style_dim: int) -> list[Layer]:
    affine = [Layer(style_dim, 2 * dim, 1, 1) for dim in (dim_in, dim_out)]
    layers = [Layer(dim_in, dim_out, 3, side), Layer(dim_out, dim_out, 3, side), *affine]
    return layers + [Layer(dim_in, dim_out, 1, side, bias=False)] * (dim_in != dim_out)


def trunk(size: int, base: int, width: int) -> list[Layer]:
    """What StarGAN v2's style encoder and discriminator have in common."""
    halvings = int(math.log2(size)) - 2
    dims = [base, *(min(base * 2**n, width) for n in range(1, halvings + 1))]
    layers = [Layer(3, base, 3, size)]
    for depth, (narrow, wide) in enumerate(itertools.pairwise(dims)):
        side = size // 2**depth
        layers += _block(narrow, wide, side, side // 2, norms=0)
    return [*layers, Layer(dims[-1], dims[-1], 4, 1)]


def mapping_network(latent_dim: int, style_dim: int, num_domains: int) -> list[Layer]:
    """StarGAN v2's mapping network."""
    shared = [Layer(latent_dim, HIDDEN_DIM, 1, 1), *[Layer(HIDDEN_DIM, HIDDEN_DIM, 1, 1)] * 3]
    branch = [*[Layer(HIDDEN_DIM, HIDDEN_DIM, 1, 1)] * 3, Layer(HIDDEN_DIM, style_dim, 1, 1)]
    return shared + branch * num_domains
