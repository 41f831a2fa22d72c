"""Align a cut-out face with the faces of the training set."""

import numpy as np
import torch
from torch.nn import functional

from models.landmarks.alignment import FACE_SHARE, alignment_matrix, sampling_matrix
from models.landmarks.network import LandmarkNetwork


def place(x: torch.Tensor, landmarks: LandmarkNetwork, mean: torch.Tensor, img_size: int) -> torch.Tensor:
    """Rotate, scale and crop each face so that its points coincide with the mean face's.

    Args:
        x: (N, 3, S, S) float32 in [-1, 1], each with a face near its centre and room around it.
        mean: (98, 2) px in a picture of 256.

    Returns:
        (N, 3, img_size, img_size) float32 in [-1, 1].

    Raises:
        ValueError: a face's points nearly coincide, so its orientation is unknown.
    """
    side = x.shape[2]
    inner = round(side * FACE_SHARE)
    start = (side - inner) // 2
    middle = x[:, :, start : start + inner, start : start + inner]
    middle = functional.interpolate(middle, size=(256, 256), mode="bilinear", antialias=True)
    points = (landmarks.landmarks(middle) * (inner / 256) + start).cpu().numpy()
    thetas = [sampling_matrix(alignment_matrix(face, mean.cpu().numpy()), side) for face in points]
    theta = torch.from_numpy(np.stack(thetas)).to(x)
    grid = functional.affine_grid(theta, [len(x), 3, img_size, img_size], align_corners=False)
    placed: torch.Tensor = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return placed
