"""The similarity transform that aligns a face with the faces of a training set. Loads no torch."""

import numpy as np
from numpy.typing import NDArray

_LEFT_EYE = [*range(60, 68), 96]
_RIGHT_EYE = [*range(68, 76), 97]
_MOUTH_ENDS = [76, 82]
_ANCHORS = [96, 97, 76, 82]  # pupils and mouth ends

FACE_SHARE = 0.7  # share of the cut-out's side that a face with hair and chin fills

Points = NDArray[np.float32]  # (98, 2), x and y in px
Matrix = NDArray[np.float32]


def alignment_matrix(points: Points, mean: Points) -> Matrix:
    """The matrix that maps a face's points onto the mean face's by rotation, scale and translation.

    Float32 throughout, as the training sets were aligned: rounding in another order moves a face by 0.0003 px.

    Returns:
        (3, 3) for column vectors (x, y, 1).
    """
    points, mean = np.asarray(points, np.float32), np.asarray(mean, np.float32)
    (x, y), (mean_x, mean_y) = _axis(points), _axis(mean)
    # Both are unit vectors, so their products are the cosine and sine of the angle between them.
    cosine, sine = x * mean_x + y * mean_y, x * mean_y - y * mean_x
    centre, mean_centre = points.mean(axis=0), mean.mean(axis=0)
    reach, mean_reach = (np.linalg.norm(p[_ANCHORS] - p.mean(axis=0), axis=1) for p in (points, mean))
    scale = (mean_reach / reach).mean()
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], np.float32)
    resize = np.diag(np.array([scale, scale, 1], np.float32))
    matrix = _translation(mean_centre) @ resize @ turn @ _translation(-centre)
    return matrix.astype(np.float32, copy=False)


def sampling_matrix(matrix: Matrix, side: int) -> Matrix:
    """From the aligned picture to the cut-out, both in -1..1: where each of its pixels is taken from.

    Args:
        matrix: as :func:`alignment_matrix` returns it, from px of the cut-out to px of a mean face of 256.
        side: px of the cut-out.

    Returns:
        (2, 3) float32.

    Raises:
        ValueError: the face's points nearly coincide, so its orientation is unknown.
    """
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:2, :2]) < 1e-6:
        raise ValueError("the landmarks of this face are degenerate")
    # px of the 256 px mean face ← -1..1 of the output
    to_mean = np.array([[128, 0, 128], [0, 128, 128], [0, 0, 1]], np.float32)
    # -1..1 of the input ← px of the input
    from_input = np.array([[2 / side, 0, -1], [0, 2 / side, -1], [0, 0, 1]], np.float32)
    sampled: Matrix = (from_input @ np.linalg.inv(matrix) @ to_mean)[:2]
    return sampled


def _translation(by: NDArray[np.float32]) -> Matrix:
    matrix = np.eye(3, dtype=np.float32)
    matrix[:2, 2] = by
    return matrix


def _axis(points: Points) -> NDArray[np.float32]:
    """The face's x axis, a unit vector: along the eyes, and across from the mouth to the eyes."""
    left, right = points[_LEFT_EYE].mean(axis=0), points[_RIGHT_EYE].mean(axis=0)
    across = (left + right) * np.float32(0.5) - points[_MOUTH_ENDS].mean(axis=0)
    axis = (right - left) - np.array([across[1], -across[0]], np.float32)
    unit: NDArray[np.float32] = axis / np.hypot(*axis)
    return unit
