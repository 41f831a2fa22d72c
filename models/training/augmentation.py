"""Random changes of all pictures that a discriminator sees, so that it does not learn few pictures by heart.

Differentiable augmentation (Zhao et al., 2020, arXiv:2006.10738): real and generated pictures are changed in the same
ways, and the generator's gradient goes through them, so that it does not learn to make changed pictures.
"""

from typing import Any, cast

import torch
from torch.autograd import Function

from models.store.unpaired_options import UnpairedChoices
from models.training import distributed
from models.training.data import seeded

NUMBERS = 7  # for a picture: brightness, saturation, contrast, shift down and right, row and column of the hole


class Augmenter:
    """Changes pictures in the ways that the options list, by numbers that are drawn once a step.

    Args:
        device: of the pictures.
    """

    def __init__(self, options: UnpairedChoices, device: torch.device) -> None:
        self._kinds = frozenset(options.augmentations)
        self._seed = options.seed
        self._device = device

    def draw(self, step: int, sets: int, count: int) -> tuple[torch.Tensor, ...]:
        """What decides how pictures are changed in a step: (count, NUMBERS) float32 in [0, 1) for each set of them.

        It depends on the options, the step and this process's number alone, so that a resumed run draws the same. If
        nothing is to be changed, nothing is drawn.
        """
        if not self._kinds:
            return ()
        random = seeded(self._seed, "augmentations", step, distributed.rank())
        numbers = torch.rand(sets, count, NUMBERS, dtype=torch.float32, generator=random)
        return numbers.to(self._device, non_blocking=True).unbind()

    def __call__(self, x: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Change each picture in a way of its own, by the strengths of section 3.3.

        A GPU can record this, and replay it with other numbers.

        Args:
            x: (N, 3, H, W) float in [-1, 1], sides of at least 8.
            numbers: (N, NUMBERS), of :meth:`draw`.

        Returns:
            The same shape, dtype and memory format. Colours may leave [-1, 1].
        """
        if "color" in self._kinds:
            x = _coloured(x, numbers[:, :3])
        if "translation" in self._kinds:
            x = _moved(x, numbers[:, 3:5])
        if "cutout" in self._kinds:
            x = _with_a_hole(x, numbers[:, 5:])
        return x


def _coloured(x: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Add U(-0.5, 0.5); multiply the distance to each pixel's mean by U(0, 2), and to the picture's by U(0.5, 1.5)."""
    # At least in float32: in bfloat16 generated pictures would be rounded more often than real ones, which shows.
    exact = torch.promote_types(x.dtype, torch.float32)
    brightness, saturation, contrast = numbers.to(exact)[:, :, None, None, None].unbind(1)
    y = x.to(exact) + (brightness - 0.5)
    grey = y.mean(dim=1, keepdim=True)
    y = grey + 2 * saturation * (y - grey)
    level = y.mean(dim=(1, 2, 3), keepdim=True)
    return (level + (contrast + 0.5) * (y - level)).to(x.dtype)


def _moved(x: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Shift by whole pixels, up to an eighth of each side; what comes in is 0."""
    down, right = (
        _whole(of_each, 2 * (side // 8) + 1) - side // 8
        for side, of_each in zip(x.shape[2:], numbers.unbind(1), strict=True)
    )
    return cast(torch.Tensor, _Shift.apply(x, down, right))


class _Shift(Function):
    """Shift each picture of (N, C, H, W) down and to the right, by (N, 1) int64 each; what comes in is 0.

    The gradient is shifted back, which is faster than to add it up where each pixel came from.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(down, right)
        rows, row_is_there = _sources(x.shape[2], down)
        columns, column_is_there = _sources(x.shape[3], right)
        pictures = torch.arange(len(x), device=x.device)[:, None, None]
        moved = x.permute(0, 2, 3, 1)[pictures, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        if x.is_contiguous():
            moved = moved.contiguous()
        return moved * _on_both_axes(row_is_there, column_is_there).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        down, right = ctx.saved_tensors
        return cast(torch.Tensor, _Shift.apply(gradient, -down, -right)), None, None


def _sources(side: int, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which row or column of the picture each of the result's shows, (N, side) int64; and whether there is one."""
    places = torch.arange(side, device=shift.device) - shift
    return places.clamp(0, side - 1), (places >= 0) & (places < side)


def _with_a_hole(x: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Set a rectangle of half of each side to 0; its middle lies anywhere in the picture."""
    _, _, height, width = x.shape
    hole = _on_both_axes(_covered(height, numbers[:, 0]), _covered(width, numbers[:, 1]))
    return x * (~hole).to(x.dtype)


def _covered(side: int, numbers: torch.Tensor) -> torch.Tensor:
    """Which rows (or columns) the hole covers, (N, side)."""
    size = side // 2
    first = _whole(numbers, side + 1 - size % 2) - size // 2
    places = torch.arange(side, device=numbers.device)
    return (places >= first) & (places < first + size)


def _whole(numbers: torch.Tensor, count: int) -> torch.Tensor:
    """Make (N,) numbers in [0, 1) one of 0 to ``count`` - 1 each, (N, 1) int64."""
    return (numbers * count).long().clamp(max=count - 1)[:, None]  # a product may be rounded up to count


def _on_both_axes(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(N, H) and (N, W) → (N, 1, H, W): where both are true."""
    return (rows[:, :, None] & columns[:, None, :])[:, None]
