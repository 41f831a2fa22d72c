"""Keep what is painted still on what it is painted of, from frame to frame. Loads neither torch nor OpenVINO.

A generator that halves the picture twice treats pixels by their place among 4 × 4. When the camera moves by one pixel,
every stroke may turn out otherwise, though the frames show the same. So the frame is laid on the generator's grid as
the last one was: by how far the picture has moved, to fractions of a pixel, and what is made of it is moved back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pictures import Picture

GRID = 4  # px; moved by this, a picture comes out the same, but for its border
MARGIN = 8  # px around the frame while it is painted, so that it can be moved within
LOOKED_AT = 320  # px, longer side at which frames are compared
STILL = 0.05  # px at that size; less is what the measurement errs by
CUT = 30.0  # levels by which frames differ on average at a cut, and hardly ever between two of one scene
SHARE = 0.3  # in which a frame sets the running statistics

Luma = NDArray[np.float32]


@dataclass(frozen=True)
class Motion:
    """What has changed from one frame to the next."""

    down: float  # px by which the picture as a whole has moved
    right: float
    is_cut: bool  # it shows another scene


class MotionMeter:
    """Measures how far each frame has moved against the one before, as a whole, by phase correlation.

    Kuglin and Hines (1975), "The phase correlation image alignment method".
    """

    def __init__(self) -> None:
        self._before: tuple[Luma, NDArray[np.complexfloating]] | None = None

    def __call__(self, frame: Picture) -> Motion:
        """Measure.

        Args:
            frame: (H, W, 3) uint8 RGB, of the shape of those before.
        """
        height, width = frame.shape[:2]
        by = max(1, -(-max(height, width) // LOOKED_AT))
        image = Image.fromarray(frame).convert("L")
        luma: Luma = np.asarray(image.reduce(by) if by > 1 else image, np.float32)
        window = np.outer(np.hanning(luma.shape[0]), np.hanning(luma.shape[1])).astype(np.float32)
        spectrum = np.fft.rfft2((luma - luma.mean()) * window)
        before, self._before = self._before, (luma, spectrum)
        if before is None or np.abs(luma - before[0]).mean() > CUT:
            return Motion(0.0, 0.0, is_cut=True)
        cross = spectrum * before[1].conj()
        cross /= np.abs(cross) + 1e-6 * np.abs(cross).max() + 1e-9
        down, right = _peak(np.fft.irfft2(cross * _smooth(luma.shape), luma.shape))
        moved = by if np.hypot(down, right) >= STILL else 0
        return Motion(moved * down, moved * right, is_cut=False)


class Steady:
    """Paints frame after frame so that what does not change but moves as a whole is painted the same.

    Args:
        paint: a function of a frame, sides multiples of 4, and of the share in which it sets running statistics; 1 for
            the first frame of a scene.
    """

    def __init__(self, paint: Callable[[Picture, float], Picture]) -> None:
        self._paint = paint
        self._meter = MotionMeter()
        self._moved = np.zeros(2)  # px, down and right, since the scene began

    def __call__(self, frame: Picture) -> Picture:
        """Paint (H, W, 3) uint8 RGB, sides multiples of 4."""
        motion = self._meter(frame)
        self._moved = np.zeros(2) if motion.is_cut else self._moved + np.array([motion.down, motion.right])
        down, right = -self._moved % GRID
        height, width = frame.shape[:2]
        around = np.pad(frame, ((2 * MARGIN,) * 2, (2 * MARGIN,) * 2, (0, 0)), mode="symmetric")
        laid = _cut_out(around, MARGIN - down, MARGIN - right, height + 2 * MARGIN, width + 2 * MARGIN)
        return _cut_out(
            self._paint(laid, 1.0 if motion.is_cut else SHARE), MARGIN + down, MARGIN + right, height, width
        )


def _cut_out(picture: Picture, top: float, left: float, height: int, width: int) -> Picture:
    """A part of a picture that begins anywhere, also within a pixel."""
    if top.is_integer() and left.is_integer():
        return np.ascontiguousarray(picture[int(top) : int(top) + height, int(left) : int(left) + width])
    place = (1, 0, left, 0, 1, top)
    moved = Image.fromarray(picture).transform((width, height), Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)
    return np.asarray(moved)


def _smooth(shape: tuple[int, ...]) -> Luma:
    """The weight of each frequency: the highest are noise, and a peak needs some width to be placed within a pixel."""
    down = np.fft.fftfreq(shape[0])[:, np.newaxis]
    weights: Luma = np.exp(-(down**2 + np.fft.rfftfreq(shape[1]) ** 2) / (2 * 0.15**2)).astype(np.float32)
    return weights


def _peak(correlation: NDArray[np.floating]) -> tuple[float, float]:
    """Where the highest value is, as a shift from the upper left corner, within a pixel."""
    row, column = map(int, np.unravel_index(int(correlation.argmax()), correlation.shape))
    return _top(correlation[:, column], row), _top(correlation[row], column)


def _top(values: NDArray[np.floating], at: int) -> float:
    """Where the highest of cyclic values is, by a parabola through the logarithms of three, as a shift to either side.

    Args:
        at: the place of the highest.
    """
    before, here, after = np.log(np.maximum(values[[at - 1, at, (at + 1) % len(values)]], 1e-9))
    bend = before - 2 * here + after
    exact = at + (before - after) / (2 * bend) if bend else float(at)
    return float(exact if exact < len(values) / 2 else exact - len(values))
