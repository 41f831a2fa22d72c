"""The numbers that torch's generator on the CPU draws for a seed, drawn without torch.

Latent codes are promised to be the same for a seed on every machine and whatever computes, so these are torch's: a
Mersenne twister, then Box and Muller's transform, in the order of ATen (``native/cpu/DistributionTemplates.h``,
``core/DistributionsHelper.h``).
"""

import numpy as np
from numpy.typing import NDArray

_BLOCK = 16  # torch transforms so many numbers at a time, and fewer than that one by one


def uniform(seed: int, count: int) -> NDArray[np.float32]:
    """``torch.rand(count)``: (count,) in [0, 1)."""
    return _uniform(_twister(seed), count)


def normal(seed: int, count: int) -> NDArray[np.float32]:
    """``torch.randn(count)``: (count,) from a standard normal, equal to torch's within 1e-6."""
    twister = _twister(seed)
    if count < _BLOCK:
        return _few_normal(twister, count)
    drawn = _uniform(twister, count)
    blocks = drawn[: count - count % _BLOCK].reshape(-1, _BLOCK)
    numbers = drawn.copy()
    numbers[: blocks.size] = _transformed(blocks).ravel()
    if count % _BLOCK:  # the last block is drawn anew, over what is there already
        numbers[-_BLOCK:] = _transformed(_uniform(twister, _BLOCK).reshape(1, _BLOCK)).ravel()
    return numbers


def _twister(seed: int) -> np.random.RandomState:
    return np.random.RandomState(seed % 2**32)  # torch's twister, too, takes the lower half of the seed


def _uniform(twister: np.random.RandomState, count: int) -> NDArray[np.float32]:
    """24 bits of each of ``count`` words."""
    words = np.frombuffer(twister.bytes(4 * count), "<u4")
    return (words & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)


def _transformed(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 16) uniform numbers to as many normal ones, each of the first eight with the one eight further."""
    radius = np.sqrt(-2 * np.log(1 - blocks[:, :8]))
    angle = np.float32(2 * np.pi) * blocks[:, 8:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _few_normal(twister: np.random.RandomState, count: int) -> NDArray[np.float32]:
    """Two float64 numbers, of 53 bits each, become two normal ones."""
    pairs = -(-count // 2)
    words = np.frombuffer(twister.bytes(4 * 4 * pairs), "<u4").astype(np.uint64).reshape(pairs, 2, 2)
    drawn = ((words[..., 0] << np.uint64(32) | words[..., 1]) & np.uint64(2**53 - 1)) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-drawn[:, 1])), 2 * np.pi * drawn[:, 0]
    numbers = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return numbers.ravel()[:count].astype(np.float32)
