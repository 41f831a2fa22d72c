"""The similarity transform that aligns a face with the faces of a training set."""

import numpy as np
import torch
from numpy.typing import NDArray

_LEFT_EYE = [*range(60, 68), 96]
_RIGHT_EYE = [*range(68, 76), 97]
_MOUTH_ENDS = [76, 82]
_ANCHORS = [96, 97, 76, 82]  # pupils and mouth ends

Points = NDArray[np.float32]  # (98, 2), x and y in px


def alignment_matrix(points: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """The 3 × 3 matrix that maps a face's points onto the mean face's by rotation, scale and translation.

    Args:
        points, mean: (98, 2), x and y in px.

    Returns:
        (3, 3) float32 for column vectors (x, y, 1).
    """
    # NumPy and float32, as the training sets were aligned: rounding in another order moves a face by 0.0003 px.
    return torch.from_numpy(_matrix(np.asarray(points, np.float32), np.asarray(mean, np.float32)))


def _matrix(points: Points, mean: Points) -> NDArray[np.float32]:
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


def _translation(by: NDArray[np.float32]) -> NDArray[np.float32]:
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
