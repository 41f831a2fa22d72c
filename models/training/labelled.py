"""Pictures of several domains, with references and latent codes, drawn by seed and position alone."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from models import pixels
from models.datasets import DatasetError, domain_folders, held_out_folders, list_pictures
from models.training.dataset import load_picture, read_picture, seeded

CROP_SCALE = (0.8, 1.0)  # share of the picture's area
CROP_RATIO = (0.9, 1.1)  # width to height


class GuidedBatch(NamedTuple):
    """N sources and what to make of them; pictures (N, 3, S, S) float32 in [-1, 1], domains (N,) int64."""

    x_src: torch.Tensor
    y_org: torch.Tensor
    x_ref: torch.Tensor  # of domain y_trg, as x_ref2 is
    x_ref2: torch.Tensor
    y_trg: torch.Tensor
    z_trg: torch.Tensor  # (N, latent_dim) from a standard normal, as z_trg2 is
    z_trg2: torch.Tensor


class LabelledPictures(Dataset[GuidedBatch]):
    """Item ``n`` of the endless sequence of sources with their guides.

    Each domain is as likely as the next, however many pictures it has. All that is random about an item is a function
    of (seed, n): a resumed run needs no sampler state.

    Args:
        root: holds ``train/<domain>/``, or ``trainA/`` and ``trainB/``, whose domains are then named A and B.
        randcrop_prob: how likely a picture is cropped before it is resized.

    Raises:
        DatasetError: there are fewer than two domains, or one has fewer than two pictures.
    """

    def __init__(self, root: Path, *, img_size: int, latent_dim: int, randcrop_prob: float, seed: int) -> None:
        folders = domain_folders(root)
        self.domains = list(folders)
        self.paths = [list_pictures(folder) for folder in folders.values()]
        if len(folders) < 2:
            raise DatasetError(
                f"{root.name} has neither train/<domain>/ for two domains or more, nor trainA/ and trainB/"
            )
        for name, paths in zip(folders, self.paths, strict=True):
            if len(paths) < 2:
                raise DatasetError(f"{name} holds {len(paths)} pictures; a domain needs 2 at least")
        held_out = held_out_folders(root)
        self._held_out = [list_pictures(held_out[name]) if name in held_out else [] for name in folders]
        self.img_size = img_size
        self.latent_dim = latent_dim
        self.randcrop_prob = randcrop_prob
        self.seed = seed

    def __getitem__(self, n: int) -> GuidedBatch:
        random = seeded(self.seed, n)
        y_org, y_trg = torch.randint(len(self.paths), (2,), generator=random)
        x_src, x_ref, x_ref2 = (self._draw(int(y), random) for y in (y_org, y_trg, y_trg))
        z_trg, z_trg2 = torch.randn(2, self.latent_dim, generator=random)
        return GuidedBatch(x_src, y_org, x_ref, x_ref2, y_trg, z_trg, z_trg2)

    def _draw(self, y: int, random: torch.Generator) -> torch.Tensor:
        paths = self.paths[y]
        path = paths[int(torch.randint(len(paths), (), generator=random))]
        cropped = torch.rand((), generator=random) < self.randcrop_prob
        picture = read_picture(path)
        box = _crop_box(picture.size, random) if cropped else None
        picture = picture.resize((self.img_size, self.img_size), Image.Resampling.BILINEAR, box=box)
        if torch.rand((), generator=random) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return pixels.to_tensor([np.asarray(picture)])[0]

    def held_out(self, count: int) -> list[torch.Tensor]:
        """Up to ``count`` pictures of each domain that no training sees; no list of any if a domain has none."""
        return [self._uncropped(paths[:count]) for paths in self._held_out] if all(self._held_out) else []

    def _uncropped(self, paths: list[Path]) -> torch.Tensor:
        return pixels.to_tensor([np.asarray(load_picture(path, self.img_size)) for path in paths])

    def fixed_inputs(self, count: int) -> torch.Tensor:
        """The first ``count`` held-out pictures of each domain, (domains, count, 3, S, S); else training pictures."""
        rows = []
        for paths, held_out in zip(self.paths, self._held_out, strict=True):
            chosen = held_out or paths
            rows.append(self._uncropped([chosen[n % len(chosen)] for n in range(count)]))
        return torch.stack(rows)


def _crop_box(size: tuple[int, int], random: torch.Generator) -> tuple[float, float, float, float]:
    """A random part of a picture of ``size``, as left, top, right, bottom in px."""
    width, height = size
    area, ratio, x, y = torch.rand(4, generator=random).tolist()
    area = width * height * (CROP_SCALE[0] + area * (CROP_SCALE[1] - CROP_SCALE[0]))
    ratio = math.exp(math.log(CROP_RATIO[0]) + ratio * math.log(CROP_RATIO[1] / CROP_RATIO[0]))
    w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = x * (width - w), y * (height - h)
    return left, top, left + w, top + h
