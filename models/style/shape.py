"""What the style networks look like beside their card's numbers. Loads no torch."""

CODE_SIDE = 256  # px of the pictures that the predictor reads
PREDICTOR_DIM = 1280  # features that a style code is made of
STEM_DIM = 32

# MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381, table 2): expansion, channels, blocks, stride of the first.
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def inverted_residuals() -> list[tuple[int, int, int, int]]:
    """Channels in, inside and out, and the stride, of each block of the predictor."""
    blocks = []
    dim = STEM_DIM
    for expansion, channels, count, first_stride in MOBILENET:
        for n in range(count):
            blocks.append((dim, expansion * dim, channels, first_stride if n == 0 else 1))
            dim = channels
    return blocks


def reach(n_blocks: int) -> int:
    """How far a painted pixel depends on those around it, but for the statistics of the whole picture; px.

    The 9 × 9 convolutions at both ends; the strided ones on the full and on half the size; two 3 × 3 ones a block on a
    quarter of the size; those after each doubling, which may begin anywhere in the pixel that was doubled.
    """
    return 4 + (1 + 2) + n_blocks * 2 * 4 + (3 + 2) + (1 + 1) + 4
