"""The value range."""

import numpy as np
import torch

from models import pixels


def test_every_level_survives_the_way_there_and_back():
    levels = np.arange(256 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3)
    x = pixels.to_tensor([levels, levels])
    assert x.shape == (2, 3, 16, 16)
    assert (x.min(), x.max()) == (-1, 1)
    assert all((picture == levels).all() for picture in pixels.to_pictures(x))


def test_channels_go_first():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert pixels.to_tensor([red])[0, :, 0, 0].tolist() == [1, -1, -1]


def test_what_lies_outside_the_range_is_clipped():
    x = torch.tensor([-7.0, 7.0, 0.0]).reshape(1, 3, 1, 1)
    assert pixels.to_pictures(x)[0].ravel().tolist() == [0, 255, 128]
