"""Latent codes and style codes as NumPy has them, for every engine. :mod:`models.stargan_v2.style` has torch's."""

import itertools
import math

import numpy as np

from models.serving.engine import Numbers
from models.serving.random_numbers import normal
from models.stargan_v2.shape import MEAN_OF


def latent_code(seed: int, latent_dim: int) -> Numbers:
    """(latent_dim,) from a standard normal: the same numbers for a seed on every machine and device."""
    return normal(seed, latent_dim)


def latent_codes_of_mean(latent_dim: int) -> Numbers:
    """(MEAN_OF, latent_dim): the latent codes whose styles are averaged to a domain's mean style."""
    return normal(0, MEAN_OF * latent_dim).reshape(MEAN_OF, latent_dim)


def between(start: Numbers, end: Numbers, share: Numbers | float) -> Numbers:
    """From ``start`` at 0 to ``end`` at 1, exact at both."""
    near_start = start + share * (end - start)
    near_end = end - (1 - share) * (end - start)
    return np.where(np.asarray(share) < 0.5, near_start, near_end).astype(np.float32)


def interpolated(s: Numbers, frames: int) -> Numbers:
    """Interpolate between consecutive codes of ``s`` (N, style_dim), with easing: ((N - 1) * frames + 1, style_dim)."""
    steps = [0.5 - 0.5 * math.cos(math.pi * frame / frames) for frame in range(frames)]
    way = [between(before, after, step) for before, after in itertools.pairwise(s) for step in steps]
    return np.stack([*way, s[-1]])
