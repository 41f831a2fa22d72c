"""Turn heat maps of the 98 points into the two masks of the generator's high-pass path.

Groups of points are shifted and sharpened so that the masks cover the features that identify a person. The first mask
covers all of them; the second leaves out jaw, brows and the outline of the mouth, which may change with the style.
"""

import torch

from models.landmarks.points import CHANGEABLE, EYES, FLOOR, GROUPS, NOSE_BRIDGE, POINTS, UNUSED


def prepare_masks(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two masks, each (N, 1, 256, 256) in [0, 1], from heat maps (N, 98, 256, 256).

    Raises:
        ValueError: there are not 98 maps.
    """
    if heatmaps.shape[1] != POINTS:
        raise ValueError(f"{POINTS} heat maps are needed, not {heatmaps.shape[1]}")
    maps = _spread(torch.where(heatmaps < FLOOR, 0.0, heatmaps))
    for first, last, rows_up, power in GROUPS:
        group = slice(first, last + 1)
        maps[:, group] = _moved_up(maps[:, group], rows_up).pow(power)
    maps[:, UNUSED] = 0.0
    maps[:, NOSE_BRIDGE] = _moved_up(maps[:, NOSE_BRIDGE], 4)
    eyes = maps[:, EYES]
    maps[:, EYES] = _moved_up(eyes, -8).pow(3) + _moved_up(eyes, -24)
    lasting = maps.clone()
    lasting[:, CHANGEABLE] = 0.0
    return _united(maps), _united(lasting)


def _spread(maps: torch.Tensor) -> torch.Tensor:
    """Each map stretched to 0..1."""
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low + 1e-6)


def _moved_up(maps: torch.Tensor, rows: int) -> torch.Tensor:
    return maps.roll(-rows, dims=2)


def _united(maps: torch.Tensor) -> torch.Tensor:
    return maps.sum(dim=1, keepdim=True).clamp(0.0, 1.0)
