"""Layers that do on an NVIDIA GPU what torch's do, in less time: normalise, activate and reflect in one pass.

torch's instance normalisation converts pictures in the memory format channels last, in which convolutions are
fastest, to the other one and back, which takes longer than the convolutions.
"""

import copy
import functools
import logging
from typing import Any, TypeGuard, TypeVar

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

TILE = 8192  # numbers that a program works on
MOST_CHANNELS = 64  # of a tile
TILES_AT_ONCE = 32
WARPS = 8  # of a program
MOST_NUMBERS = 2**31 - 1  # of one picture: the kernels have indices of 32 bits

log = logging.getLogger("doppel.models")

Network = TypeVar("Network", bound=nn.Module)


@functools.cache
def available(device: torch.device) -> bool:
    """Whether these layers compute on the device: it is NVIDIA's, and Triton and a C compiler are installed."""
    if device.type != "cuda":
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.zeros(1, 8, 4, 4, device=device, requires_grad=True)
            finish(x, normalises=True, slope=0.0, margin=1).sum().backward()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Triton's own, or a compiler's
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("the GPU computes with torch's own layers, which costs speed alone: %s", reason)
        return False
    return True


def finish(x: torch.Tensor, *, normalises: bool, slope: float, margin: int, eps: float = 1e-5) -> torch.Tensor:
    """Instance normalisation, then a (leaky) ReLU, then reflection.

    Args:
        x: (N, C, H, W), of any type of floating point.
        slope: of the activation below zero; 1: none.
        margin: how many pixels are reflected at each edge, less than a side.

    Returns:
        (N, C, H + 2 margin, W + 2 margin), of the same type, channels last.

    Raises:
        RuntimeError: the sides are too short for the margin, or a picture too large for the kernels' indices.
    """
    height, width = x.shape[2:]
    if margin >= min(height, width):
        raise RuntimeError(f"a margin of {margin} px can't be reflected in {height} × {width} px")
    if x.shape[1] * (height + 2 * margin) * (width + 2 * margin) > MOST_NUMBERS:
        raise RuntimeError(f"{x.shape[1]} channels of {height} × {width} px are too many numbers")
    made: torch.Tensor = _Finish.apply(x, normalises, slope, margin, eps)
    return made


class _Finish(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, normalises: bool, slope: float, margin: int, eps: float) -> torch.Tensor:
        from models import gpu_kernels as kernels

        x = x.contiguous(memory_format=torch.channels_last)
        n, channels, height, width = x.shape
        y = _empty(x, height + 2 * margin, width + 2 * margin)
        shape, grid = _tiling(channels, (height + 2 * margin) * (width + 2 * margin), n)
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            mean, scale = _moments(x, eps) if normalises else (x, x)
            kernels.finished[grid](
                x, y, mean, scale, height, width, channels, slope, margin=margin, normalises=normalises, **shape
            )
        kept = (x, mean, scale) if normalises else (x,) if slope != 1 else ()
        ctx.save_for_backward(*kept)
        ctx.settings = normalises, slope, margin, (n, channels, height, width)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from models import gpu_kernels as kernels

        normalises, slope, margin, (n, channels, height, width) = ctx.settings
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        x, mean, scale = (*ctx.saved_tensors, *(gradient,) * 3)[:3]  # what was not kept is not read
        sums = products = gradient
        out = _empty(gradient, height, width)
        shape, grid = _tiling(channels, height * width, n)
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            if normalises:
                tiles = grid[0]
                of_tiles = [_numbers(x, n, tiles, channels) for _ in range(2)]
                sums, products = (_numbers(x, n, channels) for _ in range(2))
                sizes = height, width, channels, tiles
                kernels.tile_sums[grid](x, gradient, mean, scale, *of_tiles, *sizes, slope, margin=margin, **shape)
                kernels.whole_sums[_parts(channels, n)](
                    *of_tiles, sums, products, height * width, channels, tiles,
                    tiles_at_once=TILES_AT_ONCE, tile_channels=TILES_AT_ONCE,
                )  # fmt: skip
            kernels.gradients[grid](
                x, gradient, out, mean, scale, sums, products, height, width, channels, slope,
                margin=margin, normalises=normalises, activates=slope != 1, **shape,
            )  # fmt: skip
        return out, None, None, None, None


def _moments(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    from models import gpu_kernels as kernels

    n, channels, height, width = x.shape
    area = height * width
    shape, grid = _tiling(channels, area, n)
    tiles = grid[0]
    of_tiles = [_numbers(x, n, tiles, channels) for _ in range(2)]
    mean, scale = (_numbers(x, n, channels) for _ in range(2))
    kernels.tile_moments[grid](x, *of_tiles, area, channels, tiles, **shape)
    kernels.moments[_parts(channels, n)](
        *of_tiles, mean, scale, area, channels, tiles, eps,
        tile_pixels=shape["tile_pixels"], tiles_at_once=TILES_AT_ONCE, tile_channels=TILES_AT_ONCE,
    )  # fmt: skip
    return mean, scale


def _empty(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return torch.empty(
        len(x), x.shape[1], height, width, dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )


def _numbers(x: torch.Tensor, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float32, device=x.device)


def _tiling(channels: int, pixels: int, count: int) -> tuple[dict[str, int], tuple[int, int, int]]:
    """The shape of a tile, and the grid: tiles of pixels, tiles of channels, pictures."""
    wide = min(MOST_CHANNELS, 1 << (channels - 1).bit_length())
    long = TILE // wide
    return {"tile_pixels": long, "tile_channels": wide, "num_warps": WARPS}, (
        -(-pixels // long),
        -(-channels // wide),
        count,
    )


def _parts(channels: int, count: int) -> tuple[int, int]:
    return -(-channels // TILES_AT_ONCE), count


class Finish(nn.Module):
    """A normalisation, an activation and a reflection that follow each other, or some of the three."""

    def __init__(self, *, normalises: bool, slope: float, margin: int, eps: float) -> None:
        super().__init__()
        self.normalises, self.slope, self.margin, self.eps = normalises, slope, margin, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return finish(x, normalises=self.normalises, slope=self.slope, margin=self.margin, eps=self.eps)


class QuickInstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation without statistics over time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = finish(x, normalises=True, slope=1.0, margin=0, eps=self.eps)
        if not self.affine:
            return made
        weight, bias = (part.to(made.dtype)[:, None, None] for part in (self.weight, self.bias))
        scaled: torch.Tensor = torch.addcmul(bias, made, weight)
        return scaled


class UnbiasedConv2d(nn.Conv2d):
    """A convolution whose bias the normalisation after it takes away again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self._conv_forward(x, self.weight, None)
        return made


class UnbiasedConvTranspose2d(nn.ConvTranspose2d):
    """The same, transposed. Of its settings, those that the generators use."""

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        settings: Any = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        made: torch.Tensor = nn.functional.conv_transpose2d(x, self.weight, None, *settings)
        return made


def memory_format(device: torch.device) -> torch.memory_format:
    """The one in which networks are fastest on a GPU."""
    return torch.channels_last if available(device) else torch.contiguous_format


def quickest(network: Network, device: torch.device, *, unbiased: bool = True) -> Network:
    """:func:`quickened` if the device has these layers, else the network itself."""
    return quickened(network, unbiased=unbiased) if available(device) else network


def quickened(network: Network, *, unbiased: bool = True) -> Network:
    """A network that computes the same with the same parameters, which it shares, by the layers of this module.

    What follows each other in a sequence becomes one layer.

    Args:
        unbiased: leave out the biases before normalisations, which change nothing and get no gradient.
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    quick = copy.deepcopy(network, memo)
    for module in list(quick.modules()):
        if isinstance(module, nn.Sequential):
            _quicken_sequence(module, unbiased)
    for module in quick.modules():
        if _is_plain(module):
            module.__class__ = QuickInstanceNorm
    return quick


def _is_plain(layer: nn.Module | None) -> TypeGuard[nn.InstanceNorm2d]:
    return type(layer) is nn.InstanceNorm2d and not layer.track_running_stats


def _quicken_sequence(layers: nn.Sequential, unbiased: bool) -> None:
    at = 0
    while at < len(layers):
        norm, slope, margin, taken = _finish_at(layers, at)
        if not taken or (norm is None and not margin):
            at += 1
            continue
        before = layers[at - 1] if at and norm is not None and unbiased else None
        if type(before) is nn.Conv2d:
            before.__class__ = UnbiasedConv2d
        elif type(before) is nn.ConvTranspose2d:
            before.__class__ = UnbiasedConvTranspose2d
        eps = norm.eps if norm is not None else 0.0
        layers[at] = Finish(normalises=norm is not None, slope=slope, margin=margin, eps=eps)
        for rest in range(at + 1, at + taken):
            layers[rest] = nn.Identity()
        at += taken


def _finish_at(layers: nn.Sequential, at: int) -> tuple[nn.InstanceNorm2d | None, float, int, int]:
    """The normalisation, the slope and the margin of the layer that starts here, and how many modules it replaces."""
    norm: nn.InstanceNorm2d | None = None
    slope, margin = 1.0, 0
    left = list(layers[at:])
    count = len(left)
    if _is_plain(first := left[0]) and not first.affine:
        norm = first
        del left[0]
    if left and isinstance(left[0], nn.ReLU | nn.LeakyReLU):
        slope = float(getattr(left.pop(0), "negative_slope", 0.0))
    if left and isinstance(last := left[0], nn.ReflectionPad2d) and len(set(last.padding)) == 1:
        margin = last.padding[0]
        del left[0]
    return norm, slope, margin, count - len(left)
