"""Pictures of any size: translated in tiles that fit memory and show no seam. Loads neither torch nor OpenVINO.

What a convolutional generator makes of a pixel depends on the pixels around it, as far as the network reaches, and
through instance normalisation on the whole picture. So the statistics of the normalisations are measured first, for
all tiles alike, on crops that are spread over the picture. With the statistics fixed, a tile that was cut out with the
reach around it gives exactly the pixels that the whole picture would give by the same statistics: nothing is blended.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import NotFinite
from models.pictures import Picture
from models.serving.engine import Moments, PictureNetwork, Pictures
from models.store.model_card import CycleGANNetwork, StyleNetwork
from models.style.shape import reach as style_reach

ALIGNMENT = 4  # px; generators halve a picture twice, so tiles begin at multiples of this
STEP_BYTES = 512 << 20  # most memory for the features of one step
LAYERS_AT_ONCE = 3  # layers of the picture's own size whose features are in memory at the same time
SAMPLE_PIXELS = 4_000_000  # on which the statistics are measured
CROP_SIDE = 192  # px, of the sample: many small crops tell more of a picture than few large ones
# Of the plastic number: any run of the points n × step modulo 1 covers a square evenly.
_SPREAD_STEP = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True)
class Tiling:
    """How a generator's pictures are taken apart. Lengths are in px and multiples of ``ALIGNMENT``."""

    reach: int  # from a pixel to the farthest one that it depends on, but for the statistics
    margin: int  # reflected around the whole picture
    step_pixels: int  # most pixels that the network gets at once
    crop_side: int = CROP_SIDE
    sample_pixels: int = SAMPLE_PIXELS
    measures: bool = True  # whether the normalisations depend on the picture

    @classmethod
    def of(cls, network: CycleGANNetwork, *, margin: int, number_bytes: int) -> "Tiling":
        """The tiling of a CycleGAN's pictures.

        Args:
            number_bytes: of a feature in the precision that the network runs in.
        """
        # The 7 × 7 convolutions at both ends; the strided ones on the full and on half the size; two 3 × 3 ones a block
        # on a quarter of the size; the transposed ones from a quarter and from half the size.
        # With blurs, convolutions of stride 1 on the full and on half the size and a blur after each; a blur from a
        # quarter and from half the size, and a convolution after each. They act on twice as many features.
        halving, doubling = ((1 + 1) + (2 + 2), (4 + 2) + (2 + 1)) if network.antialias else (1 + 2, 4 + 2)
        reach = _up(3 + halving + network.n_blocks * 2 * 4 + doubling + 3, ALIGNMENT)
        widest = network.ngf * (2 if network.antialias else 1)
        return cls(
            reach=reach,
            margin=margin,
            step_pixels=STEP_BYTES // (LAYERS_AT_ONCE * widest * number_bytes),
            measures=network.norm == "instance",
        )

    @classmethod
    def of_painter(cls, network: StyleNetwork, *, number_bytes: int) -> "Tiling":
        """The tiling of what a model of the family ``style`` paints. Arguments as for :meth:`of`.

        Painters cost little for a pixel, and their styles depend on the statistics more, so more is measured.
        """
        widest = max(network.full, network.full_out, network.half // 2, network.half_out // 2)
        return cls(
            reach=_up(style_reach(network.n_blocks), ALIGNMENT),
            margin=0,
            step_pixels=STEP_BYTES // (LAYERS_AT_ONCE * widest * number_bytes),
            crop_side=2 * CROP_SIDE,
            sample_pixels=2 * SAMPLE_PIXELS,
        )


def translate_in_tiles(
    network: PictureNetwork, picture: Picture, out: Picture, tiling: Tiling, *, name: str
) -> Iterator[float]:
    """Translate ``picture`` into ``out``; yield after each step what share of the work is done, at last 1.

    Args:
        picture: (H, W, 3) uint8 RGB, sides multiples of 4 and larger than the margin.
        out: of the same shape.
        name: of the model, for the error.

    Raises:
        NotFinite: what the network makes of the picture is NaN or infinite.
    """
    framed = _Framed(picture, tiling.margin)
    batches = _sample(framed, tiling) if tiling.measures else []
    tiles = tiles_of(framed.height, framed.width, tiling)
    work = sum(_pixels(batch) for batch in batches) + _pixels(tiles)
    done = 0
    measured: list[list[Moments]] = []
    for batch, moments in zip(batches, _measured(network, framed, batches), strict=True):
        measured.append(moments)
        done += _pixels(batch)
        yield done / work
    run = network.fixed(_pooled(measured, [len(batch) for batch in batches]))
    for tile in tiles:
        translated, finite = run(framed.cut_all([tile]))
        if not finite:
            raise NotFinite(f"What {name!r} makes of this picture")
        tile.deliver(translated[0], out, tiling.margin)
        done += _pixels([tile])
        yield done / work


@dataclass(frozen=True)
class Window:
    """A part of a picture with its margin, px; ``kept`` of it are delivered."""

    rows: range
    columns: range
    kept_rows: range = range(0)
    kept_columns: range = range(0)

    def deliver(self, made: Picture, out: Picture, margin: int) -> None:
        """Write what is kept of the picture made of this window."""
        here = tuple(
            slice(kept.start - whole.start, kept.stop - whole.start)
            for kept, whole in ((self.kept_rows, self.rows), (self.kept_columns, self.columns))
        )
        there = tuple(slice(kept.start - margin, kept.stop - margin) for kept in (self.kept_rows, self.kept_columns))
        out[there] = made[here]


class _Framed:
    """A picture with a reflected margin, which exists only in the parts that are cut out."""

    def __init__(self, picture: Picture, margin: int) -> None:
        self._picture = picture
        self._margin = margin
        self.height, self.width = (side + 2 * margin for side in picture.shape[:2])

    def cut_all(self, windows: Sequence[Window]) -> Pictures:
        """The windows, all of one shape, (N, h, w, 3)."""
        return np.stack([self._cut(window) for window in windows])

    def _cut(self, window: Window) -> Picture:
        height, width = self._picture.shape[:2]
        rows, columns = self._reflected(window.rows, height), self._reflected(window.columns, width)
        part: Picture = self._picture[rows[:, np.newaxis], columns]
        return part

    def _reflected(self, span: range, side: int) -> NDArray[np.int_]:
        positions: NDArray[np.int_] = np.abs(np.arange(span.start, span.stop) - self._margin)
        return np.minimum(positions, 2 * (side - 1) - positions)


def _pixels(windows: Sequence[Window]) -> int:
    return sum(len(window.rows) * len(window.columns) for window in windows)


def tiles_of(height: int, width: int, tiling: Tiling) -> list[Window]:
    """Windows of one shape, of which what is kept covers a picture of these sides with its margin."""
    side = int(tiling.step_pixels**0.5)
    # A picture narrower than a square tile gets longer tiles.
    rows = _spans(height, max(side, tiling.step_pixels // min(width, side)), tiling)
    columns = _spans(width, max(side, tiling.step_pixels // min(height, side)), tiling)
    return [
        Window(in_rows, in_columns, kept_rows, kept_columns)
        for in_rows, kept_rows in rows
        for in_columns, kept_columns in columns
    ]


def _spans(length: int, most: int, tiling: Tiling) -> list[tuple[range, range]]:
    """Along one side: windows of one length, at most ``most``, and what is kept of each, without the margin."""
    margin, reach = tiling.margin, tiling.reach
    first, last = margin, length - margin
    if length <= most:
        return [(range(length), range(first, last))]
    kept = max(reach, (most - 2 * reach) // ALIGNMENT * ALIGNMENT)  # however deep the network is
    count = -(-(last - first) // kept)
    kept = _up(-(-(last - first) // count), ALIGNMENT)
    window = min(length, kept + 2 * reach)
    spans = []
    for start in range(first // ALIGNMENT * ALIGNMENT, last, kept):
        begin = min(max(0, start - reach), length - window)
        spans.append((range(begin, begin + window), range(max(start, first), min(start + kept, last))))
    return spans


def _sample(framed: _Framed, tiling: Tiling) -> list[list[Window]]:
    """The crops that are measured, in batches, each of which is spread over the whole picture."""
    if framed.height * framed.width <= tiling.step_pixels:
        return [[Window(range(framed.height), range(framed.width))]]
    height, width = (min(tiling.crop_side, side) for side in (framed.height, framed.width))
    rows, columns = _starts(framed.height, height), _starts(framed.width, width)
    total = len(rows) * len(columns)
    points = (_SPREAD_STEP * np.arange(1, 8 * total + 1)[:, np.newaxis] % 1 * (len(rows), len(columns))).astype(int)
    cells = list(dict.fromkeys(map(tuple, points.tolist())))[: tiling.sample_pixels // (height * width)]
    windows = [
        Window(range(rows[row], rows[row] + height), range(columns[column], columns[column] + width))
        for row, column in cells
    ]
    each = max(1, tiling.step_pixels // (height * width))
    count = -(-len(windows) // each)
    bounds = [len(windows) * n // count for n in range(count + 1)]
    return [windows[first:last] for first, last in itertools.pairwise(bounds)]


def _starts(length: int, side: int) -> list[int]:
    """Where crops begin that cover a length."""
    count = -(-length // side)
    return [round((length - side) * n / max(count - 1, 1) / ALIGNMENT) * ALIGNMENT for n in range(count)]


def _measured(network: PictureNetwork, framed: _Framed, batches: Sequence[Sequence[Window]]) -> Iterator[list[Moments]]:
    """What each normalisation gets, batch by batch."""
    if batches:  # else there is nothing that the function must be made for
        measure = network.measuring()
        for batch in batches:
            yield measure(framed.cut_all(batch))


def _pooled(measured: Sequence[Sequence[Moments]], weights: Sequence[int]) -> list[Moments]:
    """The moments of all batches together."""
    pooled = []
    for batches in zip(*measured, strict=True):
        means, variances = (np.stack(parts).astype(np.float64) for parts in zip(*batches, strict=True))
        mean = np.average(means, axis=0, weights=weights)
        variance = np.average(variances + np.square(means), axis=0, weights=weights) - np.square(mean)
        pooled.append((mean.astype(np.float32), np.maximum(variance, 0).astype(np.float32)))
    return pooled


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
