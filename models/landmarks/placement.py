"""Align a cut-out face with the faces of the training set."""

import torch
from torch.nn import functional

from models.landmarks import LandmarkNetwork, alignment_matrix

FACE_SHARE = 0.7  # share of the cut-out's side that a face with hair and chin fills


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
    points = landmarks.landmarks(middle).cpu() * (inner / 256) + start
    theta = torch.stack([_theta(alignment_matrix(face, mean.cpu()), side) for face in points]).to(x)
    grid = functional.affine_grid(theta, [len(x), 3, img_size, img_size], align_corners=False)
    placed: torch.Tensor = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return placed


def _theta(matrix: torch.Tensor, side: int) -> torch.Tensor:
    """The matrix that ``affine_grid`` needs to sample by ``matrix``: output to input coordinates, both in -1..1."""
    # px of the 256 px mean face ← -1..1 of the output
    to_mean = torch.tensor([[128.0, 0, 128], [0, 128, 128], [0, 0, 1]])
    # -1..1 of the input ← px of the input
    from_input = torch.tensor([[2 / side, 0, -1], [0, 2 / side, -1], [0, 0, 1.0]])
    if not torch.isfinite(matrix).all() or matrix[:2, :2].det() < 1e-6:
        raise ValueError("the landmarks of this face are degenerate")
    theta: torch.Tensor = from_input @ torch.linalg.inv(matrix) @ to_mean
    return theta[:2]
