"""Unpaired pictures of two domains, drawn in an order that depends on nothing but the seed and the position."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from models import pixels

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class DatasetError(Exception):
    """The folder is not a data set that the run can use; the message says what is missing."""


def list_pictures(folder: Path) -> list[Path]:
    """The picture files directly in ``folder``, sorted by name; empty when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def load_picture(path: Path, size: int) -> Image.Image:
    """Read a picture as RGB, resized to ``size`` × ``size`` (bicubic), as the paper's code does."""
    with Image.open(path) as image:
        return image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)


def seeded(*key: object) -> torch.Generator:
    """A source of random numbers that depends on ``key`` alone."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(map(str, key)).encode()))


class UnpairedPictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Item ``n`` of the endless sequence of pairs (x_a, x_b), each (3, S, S) float32 in [-1, 1].

    Each domain is gone through in a new random order again and again, independently of the other. The order, the crop
    and the flip are functions of (seed, domain, n) alone: a resumed run needs no sampler state, and any number of
    loader processes yields the same pictures.

    Raises:
        DatasetError: trainA/ or trainB/ is missing or holds no pictures.
    """

    def __init__(self, root: Path, *, load_size: int, image_size: int, seed: int) -> None:
        if load_size < image_size:
            raise DatasetError(f"load_size {load_size} is smaller than the crop, image_size {image_size}")
        self.paths = {domain: list_pictures(root / f"train{domain}") for domain in "AB"}
        for domain, paths in self.paths.items():
            if not paths:
                raise DatasetError(f"{root / f'train{domain}'} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        self.load_size = load_size
        self.image_size = image_size
        self.seed = seed

    def __len__(self) -> int:
        """Pictures of the larger domain: the length of an epoch, not of the sequence."""
        return max(len(paths) for paths in self.paths.values())

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._draw("A", n), self._draw("B", n)

    def _draw(self, domain: str, n: int) -> torch.Tensor:
        paths = self.paths[domain]
        lap, place = divmod(n, len(paths))
        order = torch.randperm(len(paths), generator=seeded(self.seed, "order", domain, lap))
        picture = load_picture(paths[int(order[place])], self.load_size)
        random = seeded(self.seed, "crop", domain, n)
        left, top = torch.randint(self.load_size - self.image_size + 1, (2,), generator=random).tolist()
        picture = picture.crop((left, top, left + self.image_size, top + self.image_size))
        if torch.rand((), generator=random) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return pixels.to_tensor([np.asarray(picture)])[0]

    def batches(self, batch_size: int, first_step: int, last_step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches for the steps after ``first_step`` up to and including ``last_step``."""
        items = range(first_step * batch_size, last_step * batch_size)
        return iter(DataLoader(self, batch_size=batch_size, sampler=items))

    def fixed_inputs(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first ``count`` test pictures (training pictures where there are none) of each domain, uncropped."""
        root = self.paths["A"][0].parent.parent
        chosen = (list_pictures(root / f"test{domain}") or self.paths[domain] for domain in "AB")
        x_a, x_b = (
            pixels.to_tensor([np.asarray(load_picture(path, self.image_size)) for path in paths[:count]])
            for paths in chosen
        )
        return x_a, x_b
