"""Latent codes and style codes."""

import itertools
import math

import torch

from models.stargan_v2.networks import MappingNetwork
from models.stargan_v2.shape import MEAN_OF


def latent_code(seed: int, latent_dim: int) -> torch.Tensor:
    """(1, latent_dim) from a standard normal: the same numbers for a seed on every machine and device."""
    return torch.randn(1, latent_dim, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def mean_styles(mapping: MappingNetwork, latent_dim: int, count: int = MEAN_OF) -> torch.Tensor:
    """The mean style of each domain, (num_domains, style_dim) float32, over ``count`` latent codes."""
    z = latent_code(0, latent_dim * count).view(count, latent_dim).to(next(mapping.parameters()))
    # Calling the network for each domain would compute all branches each time.
    h = mapping.shared(z)
    return torch.stack([branch(h).float().mean(dim=0) for branch in mapping.unshared])


def truncate(s: torch.Tensor, mean: torch.Tensor, psi: float | torch.Tensor) -> torch.Tensor:
    """Pull style codes (N, style_dim) towards a mean style: ``psi`` 1 leaves them as they are, 0 gives the mean."""
    return torch.lerp(mean, s, psi)


def interpolated(s: torch.Tensor, frames: int) -> torch.Tensor:
    """Interpolate between consecutive codes of ``s`` (N, style_dim), with easing: ((N - 1) * frames + 1, style_dim)."""
    steps = [0.5 - 0.5 * math.cos(math.pi * frame / frames) for frame in range(frames)]
    way = [torch.lerp(before, after, step) for before, after in itertools.pairwise(s) for step in steps]
    return torch.stack([*way, s[-1]])
