"""Align a cut-out face with the faces of the training set: :mod:`models.landmarks.placement` in NumPy."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from models.landmarks.alignment import FACE_SHARE, Points, alignment_matrix, sampling_matrix
from models.pictures import Picture
from models.serving.engine import Numbers

LANDMARK_SIDE = 256  # px of the pictures that the landmark network reads
MAP_SIDE = 64  # px of its heat maps


def align(face: Picture, heatmaps: Callable[[Numbers], Numbers], mean: Points, img_size: int) -> Picture:
    """Rotate, scale and crop a face so that its points coincide with the mean face's.

    Args:
        face: (S, S, 3), a face near the centre and room around it.
        heatmaps: from a picture (1, 256, 256, 3) in 0..1 to heat maps (1, 98, 64, 64).
        mean: (98, 2) px in a picture of 256.

    Returns:
        (img_size, img_size, 3).

    Raises:
        ValueError: the face's points nearly coincide, so its orientation is unknown.
    """
    side = len(face)
    inner = round(side * FACE_SHARE)
    start = (side - inner) // 2
    middle = _resized(face[start : start + inner, start : start + inner], LANDMARK_SIDE)
    points = peaks(heatmaps(middle[np.newaxis] / np.float32(255))[0]) * np.float32(LANDMARK_SIDE / MAP_SIDE)
    points = points * np.float32(inner / LANDMARK_SIDE) + np.float32(start)
    return _sampled(face, sampling_matrix(alignment_matrix(points, mean), side), img_size)


def peaks(maps: Numbers) -> Points:
    """Where each of the heat maps (K, H, W) is highest, as :func:`models.landmarks.network.peaks`: (K, 2)."""
    count, height, width = maps.shape
    y, x = np.divmod(maps.reshape(count, -1).argmax(axis=1), width)
    around = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    each = np.arange(count)
    right, left = around[each, y + 1, x + 2], around[each, y + 1, x]
    below, above = around[each, y + 2, x + 1], around[each, y, x + 1]
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    towards = np.sign(np.stack([right - left, below - above], axis=1)) * inside[:, np.newaxis]
    found: Points = (np.stack([x, y], axis=1) + 0.5 + 0.25 * towards).astype(np.float32)
    return found


def _resized(picture: Picture, side: int) -> Numbers:
    """(side, side, 3) float32 in 0..255; bilinear, over all pixels that an output pixel covers."""
    channels = [Image.fromarray(np.ascontiguousarray(picture[..., c], np.float32)) for c in range(3)]
    sized = [np.asarray(channel.resize((side, side), Image.Resampling.BILINEAR)) for channel in channels]
    return np.stack(sized, axis=-1)


def _sampled(picture: Picture, matrix: Numbers, side: int) -> Picture:
    """A picture (side, side, 3) by bilinear samples at where ``matrix`` (2, 3) leads, reflected at the borders."""
    centres = (2 * np.arange(side, dtype=np.float32) + 1) / side - 1
    grid = np.stack([*np.meshgrid(centres, centres), np.ones((side, side), np.float32)], axis=-1)
    size = len(picture)
    x, y = (_reflected(((where + 1) * size - 1) / 2, size) for where in np.moveaxis(grid @ matrix.T, -1, 0))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = (x - left)[..., np.newaxis], (y - top)[..., np.newaxis]
    right, bottom = np.minimum(left + 1, size - 1), np.minimum(top + 1, size - 1)
    upper = picture[top, left] * (1 - across) + picture[top, right] * across
    lower = picture[bottom, left] * (1 - across) + picture[bottom, right] * across
    sampled: Picture = np.rint(upper * (1 - down) + lower * down).astype(np.uint8)
    return sampled


def _reflected(where: Numbers, size: int) -> Numbers:
    """Positions in px mirrored about the outer edges of the first and the last pixel, then kept between the centres."""
    period = np.float32(2 * size)
    inside = np.abs(np.mod(where + np.float32(0.5), period))
    mirrored = np.where(inside > size, period - inside, inside) - np.float32(0.5)
    kept: Numbers = np.clip(mirrored, 0, size - 1)
    return kept
