"""Where faces end up."""

import math

import pytest
import torch

from models.landmarks.placement import FACE_SHARE, place

SIDE = 512
MEAN = torch.rand(98, 2, generator=torch.Generator().manual_seed(0)) * 120 + 68  # px in 256


class Told:
    """In place of the landmark network: says where the points are, in px of the 256 px middle."""

    def __init__(self, points):
        self.points = points

    def landmarks(self, x):
        assert x.shape[1:] == (3, 256, 256)
        return self.points[None]


def spots(points, side):
    """A black picture with a white spot at each of the points (x, y) in px."""
    grid = torch.arange(side) + 0.5
    near = (grid - points[:, 0, None, None]).square() + (grid[:, None] - points[:, 1, None, None]).square()
    return (torch.exp(-near / 18).amax(dim=0) * 2 - 1).expand(1, 3, side, side)


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.6, 20.0)])
def test_the_points_of_a_face_come_to_lie_on_the_mean_faces(angle, scale, shift):
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = MEAN.mean(dim=0)
    points = (MEAN - centre) @ turn.T * scale + centre + shift  # in the 256 px middle
    inner = SIDE * FACE_SHARE
    picture = spots(points * inner / 256 + (SIDE - inner) / 2, SIDE)
    placed = place(picture, Told(points), MEAN, 256)
    expected = spots(MEAN, 256)
    assert placed.shape == (1, 3, 256, 256)
    bright = placed[0, 0] > 0
    assert (expected[0, 0][bright] > -0.9).float().mean() > 0.95
    assert bright.sum() > 200
