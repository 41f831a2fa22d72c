"""Depth and width of the networks, and how many codes make a mean style. Loads no torch."""

import math

BOTTLENECK_BLOCKS = 2  # at the lowest resolution of the generator, in either half
HIDDEN_DIM = 512  # of the mapping network
MEAN_OF = 10_000  # number of latent codes whose styles are averaged to a domain's mean style
MASKED_SIDES = (32, 64, 128)  # sides of the features, at the size trained at, that the high-pass path carries over


def halvings(img_size: int, w_hpf: float) -> int:
    """How often the generator halves a picture: down to 16 px, or to 8 with the high-pass path."""
    return int(math.log2(img_size)) - (3 if w_hpf else 4)


def encoder_halvings(img_size: int) -> int:
    """How often the style encoder and the discriminator halve a picture: down to 4 px."""
    return int(math.log2(img_size)) - 2


def widths(img_size: int, max_conv_dim: int, base_dim: int | None, *, halvings: int) -> list[int]:
    """Channels at full resolution and after each halving."""
    first = base_dim or 2**14 // img_size
    # max_conv_dim does not bound the first layer.
    return [first, *(min(first * 2**n, max_conv_dim) for n in range(1, halvings + 1))]


def masked_depths(img_size: int) -> dict[int, int]:
    """Depth, in halvings, of the features that the high-pass path carries over, and their side at that size, px."""
    return {int(math.log2(img_size // side)): side for side in MASKED_SIDES if side <= img_size}
