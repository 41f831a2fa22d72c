"""Landmarks, masks and alignment against the reference implementation, number for number."""

import numpy as np
import pytest
import torch

from models.landmarks.alignment import alignment_matrix
from models.landmarks.masks import prepare_masks
from models.landmarks.network import LandmarkNetwork, peaks
from tests.models import reference
from tests.models.test_stargan_v2 import TOLERANCE, assert_close, expected, network


def heatmaps(points, side, sigma):
    """(1, N, side, side): a Gaussian hill at each point (x, y)."""
    grid = torch.arange(side).float()
    x, y = points[:, 0, None, None], points[:, 1, None, None]
    return torch.exp(-((grid - x).square() + (grid[:, None] - y).square()) / (2 * sigma**2))[None]


@torch.inference_mode()
def test_landmark_network():
    landmarks = network(LandmarkNetwork, "fan")
    x = reference.picture("stargan_source", 2, (256, 256))
    assert_close(landmarks.landmarks(x), "fan_landmarks")
    for mask, name in zip(landmarks.masks(x), ("fan_mask_1", "fan_mask_2"), strict=True):
        assert_close(mask[:, :, ::8, ::8], name)


def test_masks_of_known_points():
    masks = prepare_masks(heatmaps(expected("landmark_points"), 256, sigma=4))
    for mask, name in zip(masks, ("peak_mask_1", "peak_mask_2"), strict=True):
        assert_close(mask[:, :, ::4, ::4], name)


def test_masks_need_98_points():
    with pytest.raises(ValueError, match="98 heat maps"):
        prepare_masks(torch.zeros(1, 68, 256, 256))


def test_peaks_lie_between_pixels():
    assert_close(peaks(heatmaps(expected("landmark_points") / 4, 64, sigma=1.5)), "peak_landmarks")


def test_alignment_matrix():
    matrix = alignment_matrix(expected("landmark_points").numpy(), expected("landmark_mean").numpy())
    assert_close(torch.from_numpy(matrix), "alignment_matrix")


def test_a_face_that_is_aligned_already_stays_where_it_is():
    mean = expected("landmark_mean").numpy()
    assert np.abs(alignment_matrix(mean, mean) - np.eye(3)).max() < TOLERANCE
