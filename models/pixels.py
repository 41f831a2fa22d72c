"""The only place that converts value ranges: uint8 pictures outside the networks, float tensors in [-1, 1] inside."""

from collections.abc import Sequence

import numpy as np
import torch

from models.pictures import Picture


def to_tensor(pictures: Sequence[Picture] | Picture) -> torch.Tensor:
    """Stack pictures of one shape into a float32 batch.

    Args:
        pictures: N arrays (H, W, 3), RGB, uint8 in [0, 255], all of one shape; or these stacked.

    Returns:
        (N, 3, H, W) float32 in [-1, 1].
    """
    return to_features(torch.from_numpy(np.array(pictures)))


def to_features(levels: torch.Tensor) -> torch.Tensor:
    """:func:`to_tensor` for pictures that are a tensor, (N, H, W, 3) uint8, on any device."""
    return levels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_pictures(x: torch.Tensor) -> list[Picture]:
    """Undo :func:`to_tensor`: round to the nearest level and clip to [0, 255].

    Args:
        x: (N, 3, H, W), any float dtype and device.

    Returns:
        N contiguous arrays (H, W, 3), RGB, uint8 in [0, 255].
    """
    return list(to_levels(x.detach()).cpu().numpy())


def to_levels(x: torch.Tensor) -> torch.Tensor:
    """:func:`to_pictures` as a contiguous tensor, (N, H, W, 3) uint8, on the device of ``x``."""
    levels = x.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous()
