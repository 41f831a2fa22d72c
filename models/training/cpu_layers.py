"""Layers that compute on a CPU what torch's do, in less time. Training puts them in the place of torch's."""

import math
from typing import Any, cast

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional

# Winograd's F(4 × 4, 3 × 3) (Lavin and Gray, 2015, arXiv:1509.09308, section 4.3): 36 products in place of 144 give
# 4 × 4 px of the result from a tile of 6 × 6 px.
TILE, RESULT = 6, 4
MIN_CHANNELS = 96  # of the narrower side; with fewer the transforms cost what the products save
MIN_TILES = 256  # to compute at once, if there are as many: products of fewer are slow, and of more leave the cache


def _on_both_axes(matrix: list[list[float]]) -> torch.Tensor:
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one)


_OF_TILES = _on_both_axes(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_OF_KERNELS = _on_both_axes(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_OF_RESULTS = _on_both_axes([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


class _Tiles(Function):
    """(N, C, 4 h + 2, 4 w + 2) → its overlapping tiles, (6, 6, N, h, w, C)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        n, channels, height, width = x.shape
        on_n, on_c, on_y, on_x = x.stride()
        shape = TILE, TILE, n, height // RESULT, width // RESULT, channels
        return x.as_strided(shape, (on_y, on_x, on_n, RESULT * on_y, RESULT * on_x, on_c)).contiguous()

    @staticmethod
    def backward(ctx: Any, tiles: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, _Overlapped.apply(tiles))


class _Overlapped(Function):
    """The sum of overlapping tiles: the adjoint of :class:`_Tiles`."""

    @staticmethod
    def forward(ctx: Any, tiles: torch.Tensor) -> torch.Tensor:
        _, _, n, h, w, channels = tiles.shape
        x = tiles.new_zeros(n, h + 1, RESULT, w + 1, RESULT, channels)
        places = x.permute(2, 4, 0, 1, 3, 5)
        rest = TILE - RESULT  # of each tile lies in the next one's place
        places[:, :, :, :-1, :-1] = tiles[:RESULT, :RESULT]
        places[:rest, :, :, 1:, :-1] += tiles[RESULT:, :RESULT]
        places[:, :rest, :, :-1, 1:] += tiles[:RESULT, RESULT:]
        places[:rest, :rest, :, 1:, 1:] += tiles[RESULT:, RESULT:]
        x = x.view(n, RESULT * (h + 1), RESULT * (w + 1), channels)
        return x[:, : RESULT * h + 2, : RESULT * w + 2].permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, _Tiles.apply(x))


def winograd(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``functional.conv2d`` without padding by Winograd's algorithm. Autograd differentiates it, twice if need be.

    It is as exact as float32 allows, up to a factor of about 5: 5e-5 of the result's spread with 256 channels.

    Args:
        x: (N, C, 4 h + 2, 4 w + 2), of the weight's type.
        weight: (K, C, 3, 3).

    Returns:
        (N, K, 4 h, 4 w) in the memory format channels last.
    """
    channels, height, width = x.shape[1:]
    of_tiles, of_kernels, of_results = (matrix.to(x.dtype) for matrix in (_OF_TILES, _OF_KERNELS, _OF_RESULTS))
    h, w, kinds = height // RESULT, width // RESULT, len(weight)
    kernels = (of_kernels @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(TILE**2, channels, kinds)
    parts = []
    for some in torch.split(x, math.ceil(MIN_TILES / (h * w))):
        tiles = (of_tiles @ cast(torch.Tensor, _Tiles.apply(some)).view(TILE**2, -1)).view(TILE**2, -1, channels)
        parts.append((of_results @ torch.bmm(tiles, kernels).view(TILE**2, -1)).view(RESULT, RESULT, -1, h, w, kinds))
    ordered = [part.permute(2, 3, 0, 4, 1, 5).reshape(-1, RESULT * h, RESULT * w, kinds) for part in parts]
    return (ordered[0] if len(ordered) == 1 else torch.cat(ordered)).permute(0, 3, 1, 2)


def _pays(count: int, height: int, width: int) -> bool:
    """Whether so many results of this size consist of whole tiles, and of enough of them."""
    return height % RESULT == 0 and width % RESULT == 0 and count * height * width >= MIN_TILES * RESULT**2 // 4


class Conv3x3(nn.Module):
    """A 3 × 3 convolution of stride 1 in float32, with the parameters of torch's."""

    def __init__(self, torchs: nn.Conv2d) -> None:
        super().__init__()
        self.weight = torchs.weight
        self.bias = torchs.bias
        self.padding = cast(tuple[int, int], torchs.padding)

    @staticmethod
    def can_replace(layer: nn.Module) -> bool:
        """Whether this computes what the layer does, and pays."""
        return (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (3, 3)
            and layer.stride == layer.dilation == (1, 1)
            and layer.groups == 1
            and layer.padding_mode == "zeros"
            and min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS
        )

    @staticmethod
    def kept_numbers(layer: nn.Conv2d, count: int, height: int, width: int) -> int:
        """How many numbers this keeps for the backward pass in place of a layer: transformed tiles and kernels.

        Args:
            layer: one that this can replace.
            count: how many pictures.
            height: of the result, in px; ``width`` alike.
        """
        if not _pays(count, height, width):
            return 0
        tiles = count * height * width // RESULT**2
        return TILE**2 * layer.in_channels * (tiles + layer.out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = (side + 2 * margin - 2 for side, margin in zip(x.shape[2:], self.padding, strict=True))
        if x.dtype != torch.float32 or not _pays(len(x), height, width):
            return functional.conv2d(x, self.weight, self.bias, padding=self.padding)
        on_y, on_x = self.padding
        y = winograd(functional.pad(x, (on_x, on_x, on_y, on_y)) if any(self.padding) else x, self.weight)
        return y if self.bias is None else y + self.bias[:, None, None]


class InstanceNorm(nn.Module):
    """Instance normalisation without statistics over time, with the parameters of torch's, if any.

    Torch's converts pictures in the memory format channels last to the other one and back, which takes longer
    than all the rest. Its batch normalisation does not, and is the same thing for one picture.
    """

    def __init__(self, torchs: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = torchs.weight, torchs.bias, torchs.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_contiguous():
            return functional.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)
        parts = [
            functional.batch_norm(one, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for one in torch.split(x, 1)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def quicken(networks: nn.Module, *, convolutions: bool) -> None:
    """Replace layers of networks that train on a CPU, in place. Parameters and state-dict keys stay as they are.

    Args:
        convolutions: whether to replace convolutions too, which compute in float32 alone.
    """
    for module in list(networks.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.InstanceNorm2d) and not layer.track_running_stats:
                setattr(module, name, InstanceNorm(layer))
            elif convolutions and Conv3x3.can_replace(layer):
                setattr(module, name, Conv3x3(cast(nn.Conv2d, layer)))
