"""Unpaired pictures of two domains, drawn in an order that depends on nothing but the seed and the position."""

import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from models import pixels
from models.datasets import SUFFIXES, DatasetError, domain_folders, held_out_folders, list_pictures


def read_picture(path: Path) -> Image.Image:
    """Read a picture as RGB.

    Raises:
        DatasetError: it is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders raise
        raise DatasetError(f"{path.parent.name}/{path.name} of the data set cannot be read: {error}") from error


def load_picture(path: Path, size: int) -> Image.Image:
    """Read a picture as RGB, resized to ``size`` × ``size`` (bicubic), as CycleGAN's code does.

    Raises:
        DatasetError: it is missing or damaged.
    """
    return read_picture(path).resize((size, size), Image.Resampling.BICUBIC)


def seeded(*key: object) -> torch.Generator:
    """A source of random numbers that depends on ``key`` alone."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(map(str, key)).encode()))


class UnpairedPictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Item ``n`` of the endless sequence of pairs (x_a, x_b), each (3, S, S) float32 in [-1, 1].

    Each domain is gone through in a new random order again and again, independently of the other. The order, the crop
    and the flip are functions of (seed, domain, n) alone: a resumed run needs no sampler state, and any number of
    loader processes yields the same pictures.

    Raises:
        DatasetError: there are not two domains, or one holds no pictures.
    """

    def __init__(self, root: Path, *, load_size: int, image_size: int, seed: int) -> None:
        if load_size < image_size:
            raise DatasetError(f"load_size {load_size} is smaller than the crop, image_size {image_size}")
        folders = domain_folders(root)
        if len(folders) != 2:
            raise DatasetError(
                f"{root.name} holds {len(folders)} domains; a CycleGAN needs two: trainA/ and trainB/, "
                "or two of train/<domain>/"
            )
        # Of named domains the first in the alphabet is A.
        self.paths = {domain: list_pictures(folder) for domain, folder in zip("AB", folders.values(), strict=True)}
        for folder, paths in zip(folders.values(), self.paths.values(), strict=True):
            if not paths:
                raise DatasetError(f"{folder.name} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        self.domains = list(folders)
        held_out = held_out_folders(root)
        self._held_out = {
            domain: list_pictures(held_out[name]) if name in held_out else []
            for domain, name in zip("AB", folders, strict=True)
        }
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

    def held_out(self, count: int) -> list[torch.Tensor]:
        """Up to ``count`` pictures of each domain that no training sees; no list of any if a domain has none."""
        if not all(self._held_out.values()):
            return []
        return [self._uncropped(paths[:count]) for paths in self._held_out.values()]

    def _uncropped(self, paths: list[Path]) -> torch.Tensor:
        return pixels.to_tensor([np.asarray(load_picture(path, self.image_size)) for path in paths])

    def fixed_inputs(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first ``count`` held-out pictures (training pictures where there are none) of each domain, uncropped."""
        x_a, x_b = (self._uncropped((self._held_out[domain] or paths)[:count]) for domain, paths in self.paths.items())
        return x_a, x_b
