"""Grey levels of more than 8 bits, and floating-point ones, as a viewer would show them in 8 bits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pictures.tiff import Levels

Numbers = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]

ROBUST = (0.1, 99.9)  # percentiles that stand for the lowest and the highest level: a hot pixel must not count
USED = 0.25  # share of the usual range below which the numbers are taken to have another one: 12 bits stored in 16
MAX_COUNTED = 1 << 20  # levels that percentiles are taken of; of larger pictures every n-th


def is_deep(image: Image.Image, levels: Levels) -> bool:
    """Whether the picture's levels have to be brought to 8 bits."""
    return image.mode == "F" or image.mode.startswith("I") or (levels.sample_format == 2 and levels.bits == 8)


def to_eight_bits(image: Image.Image, levels: Levels) -> tuple[Image.Image, str | None]:
    """Bring grey levels to 8 bits.

    Black and white are the ends of the range that the file tells, or of the usual one of its sample format: 16 bits, or
    floats in [0, 1]. If the levels exceed the usual range or use little of it, robust percentiles are the ends instead.

    Args:
        image: of mode I, I;16 or F; or of mode L, if its 8 bits are signed.
        levels: what the file says of them.

    Returns:
        The picture in mode L, and a note for the person who sent it if percentiles were used.
    """
    numbers = _numbers(image, levels)
    ends = _ends(numbers, levels)
    if numbers.dtype == np.uint16 and ends.is_usual:
        shown = (numbers // 256).astype(np.uint8)  # as the colours of 16 bits are brought to 8
    else:
        scaled = (numbers.astype(np.float32) - ends.black) * (255 / (ends.white - ends.black))
        shown = np.nan_to_num(scaled, nan=0, posinf=255, neginf=0).clip(0, 255).round().astype(np.uint8)
    if levels.white_is_zero:
        shown = 255 - shown
    note = None
    if ends.are_percentiles:
        note = (
            f"its grey levels have no range that is known, so those from {ends.black:,.6g} to {ends.white:,.6g} were "
            "spread from black to white"
        )
    return Image.fromarray(shown), note


@dataclass(frozen=True)
class _Ends:
    black: float
    white: float
    is_usual: bool = False
    are_percentiles: bool = False


def _numbers(image: Image.Image, levels: Levels) -> Numbers:
    numbers = np.asarray(image)
    if image.mode == "L":
        return numbers.view(np.int8)
    if numbers.dtype.itemsize == 2:
        return numbers.astype(np.uint16)  # in this machine's byte order
    if image.mode == "I" and (levels.bits, levels.sample_format) == (32, 1):
        return numbers.view(np.uint32)
    return numbers


def _usual(levels: Levels, is_float: bool) -> tuple[float, float]:
    if is_float:
        return 0.0, 1.0
    return 0.0, 32767.0 if levels.sample_format == 2 and levels.bits == 16 else 65535.0


def _ends(numbers: Numbers, levels: Levels) -> _Ends:
    is_float = np.issubdtype(numbers.dtype, np.floating)
    sample = numbers.ravel()[:: max(1, numbers.size // MAX_COUNTED)]
    if is_float:
        sample = sample[np.isfinite(sample)]
    usual = _usual(levels, is_float)
    if not sample.size:
        return _Ends(*usual)
    low = float(np.percentile(sample, ROBUST[0], method="higher"))
    high = float(np.percentile(sample, ROBUST[1], method="lower"))
    told = _told(levels)
    if told is not None and told[0] <= low and high <= told[1]:
        return _Ends(*told)
    if low >= high:  # nearly all levels are the same
        low, high = float(sample.min()), float(sample.max())
    fits = usual[0] <= low and high <= usual[1]
    if (fits and high >= USED * usual[1]) or low >= high:
        return _Ends(*usual, is_usual=True)
    return _Ends(low, high, are_percentiles=True)


def _told(levels: Levels) -> tuple[float, float] | None:
    """The range that the file tells, unless it only repeats what its type can hold."""
    if 8 < levels.bits < 16 and levels.sample_format == 1:
        return 0.0, float(2**levels.bits - 1)
    if levels.highest is None or levels.highest <= (levels.lowest or 0.0):
        return None
    whole = levels.sample_format != 3 and levels.highest >= 2 ** (levels.bits - (levels.sample_format == 2)) - 1
    return None if whole else (levels.lowest or 0.0, levels.highest)
