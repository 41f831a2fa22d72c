"""Instance normalisation in torch by moments that don't depend on the picture at hand."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.serving.engine import Moments, Numbers

EPSILON = 1e-5  # that of torch's own normalisations


class Measuring(nn.Module):
    """Normalises by the mean and the variance over the whole batch, and keeps them."""

    _moments: tuple[torch.Tensor, torch.Tensor]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        self._moments = mean, variance
        return functional.batch_norm(x, mean, variance, eps=EPSILON)

    def moments(self) -> Moments:
        """Of the last batch."""
        mean, variance = (moment.cpu().numpy() for moment in self._moments)
        return mean, variance


class Running(nn.Module):
    """Normalises by a mean and a variance that change with every batch: towards the batch's own, by ``share``."""

    share = 1.0  # 0 to 1; the first batch needs 1
    _moments: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        if self._moments is not None:
            old_mean, old_variance = self._moments
            mean, variance = old_mean.lerp(mean, self.share), old_variance.lerp(variance, self.share)
        self._moments = mean, variance
        return functional.batch_norm(x, mean, variance, eps=EPSILON)


class Fixed(nn.Module):
    """Normalises by these moments, (C,) each."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, mean: Numbers, variance: Numbers) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.ascontiguousarray(mean)))
        self.register_buffer("variance", torch.from_numpy(np.ascontiguousarray(variance)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(x, self.mean, self.variance, eps=EPSILON)


def with_normalisations(network: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    """A copy of the network, in which each instance normalisation in turn is replaced by a module of its own."""
    changed = copy.deepcopy(network)
    for name, module in list(changed.named_modules()):
        if isinstance(module, nn.InstanceNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(changed.get_submodule(parent), child, make())
    return changed
