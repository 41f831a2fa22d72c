"""Halving and doubling by a blur, which keeps fine detail from aliasing (Zhang, 2019, arXiv:1904.11486)."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

HALVING = (1, 2, 1)  # along one axis
DOUBLING = (1, 3, 3, 1)


def _kernels(weights: Sequence[int], dim: int, gain: int) -> torch.Tensor:
    """One and the same kernel for each channel, (dim, 1, k, k), whose numbers add up to ``gain``."""
    line = torch.tensor(weights, dtype=torch.float32)
    kernel = torch.outer(line, line)
    return (gain * kernel / kernel.sum()).repeat(dim, 1, 1, 1)


class _Blur(nn.Module):
    """The kernels are in the state dict, as ``filt``, because they are in the published weights."""

    filt: torch.Tensor

    def __init__(self, dim: int, weights: Sequence[int], gain: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("filt", _kernels(weights, dim, gain))


class BlurredHalving(_Blur):
    """(N, dim, H, W) to half the sides, by [1, 2, 1] along each axis; borders are reflected."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, HALVING, gain=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(x, self.filt, stride=2, groups=self.dim)


class BlurredDoubling(_Blur):
    """(N, dim, H, W) to twice the sides, by [1, 3, 3, 1] along each axis; borders are repeated."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, DOUBLING, gain=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return functional.conv_transpose2d(x, self.filt, stride=2, padding=3, groups=self.dim)
