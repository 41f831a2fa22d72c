"""The pictures that a run trains on. Which ones an item has depends on the seed and its position alone."""

import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from models import pixels
from models.pictures import list_pictures
from models.store.datasets import domain_folders, held_out_folders
from models.store.run_checks import check_labelled, check_unpaired
from models.training.reader import PictureReader

CROP_SCALE = (0.8, 1.0)  # share of the picture's area
CROP_RATIO = (0.9, 1.1)  # width to height


def seeded(*key: object) -> torch.Generator:
    """A random number generator seeded by ``key`` alone."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(map(str, key)).encode()))


class UnpairedPictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """An endless sequence of pairs (x_a, x_b), each (3, S, S) float32 in [-1, 1].

    Each domain is shuffled anew for each pass over it, independently of the other domain. Order, crop and flip of item
    ``n`` are functions of (seed, domain, n) alone: a resumed run needs no sampler state, and any number of loader
    processes yields the same pictures.

    Raises:
        DatasetError: there are not two domains, or one holds no pictures that can be read.
    """

    def __init__(self, root: Path, *, load_size: int, image_size: int, seed: int) -> None:
        folders = domain_folders(root)
        self.domains = list(folders)
        listed = [list_pictures(folder) for folder in folders.values()]
        self.counts = dict(zip(folders, map(len, listed), strict=True))
        check_unpaired(root.name, self.counts)
        # Of named domains the first in the alphabet is A.
        self.paths = dict(zip("AB", listed, strict=True))
        held_out = held_out_folders(root)
        self._held_out = {
            domain: list_pictures(held_out[name]) if name in held_out else []
            for domain, name in zip("AB", folders, strict=True)
        }
        self.reader = PictureReader(root, (*listed, *self._held_out.values()))
        self.load_size = load_size
        self.image_size = image_size
        self.seed = seed

    def __len__(self) -> int:
        """The number of pictures in the larger domain: the length of an epoch, not of the sequence."""
        return max(len(paths) for paths in self.paths.values())

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._draw("A", n), self._draw("B", n)

    def _draw(self, domain: str, n: int) -> torch.Tensor:
        paths = self.paths[domain]
        epoch, position = divmod(n, len(paths))
        order = torch.randperm(len(paths), generator=seeded(self.seed, "order", domain, epoch))
        shuffled = (paths[int(order[place])] for place in _from(position, len(paths)))
        picture = _resized(next(self.reader.readable(shuffled)), self.load_size)
        random = seeded(self.seed, "crop", domain, n)
        left, top = torch.randint(self.load_size - self.image_size + 1, (2,), generator=random).tolist()
        picture = picture.crop((left, top, left + self.image_size, top + self.image_size))
        if torch.rand((), generator=random) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return pixels.to_tensor([np.asarray(picture)])[0]

    def held_out(self, count: int) -> list[torch.Tensor]:
        """Up to ``count`` held-out pictures of each domain, (N, 3, S, S); an empty list if a domain has none."""
        if not all(self._held_out.values()):
            return []
        return [self._uncropped(paths, count) for paths in self._held_out.values()]

    def _uncropped(self, paths: Sequence[Path], count: int) -> torch.Tensor:
        return _whole(self.reader.readable(paths), count, self.image_size)

    def fixed_inputs(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first pictures of each domain, (N, 3, S, S), uncropped: held-out ones if it has any.

        N is ``count``, or less in a domain that has fewer.
        """
        x_a, x_b = (self._uncropped(self._held_out[domain] or paths, count) for domain, paths in self.paths.items())
        return x_a, x_b


class GuidedBatch(NamedTuple):
    """N source pictures with guides: pictures (N, 3, S, S) float32 in [-1, 1], domains (N,) int64."""

    x_src: torch.Tensor
    y_org: torch.Tensor
    x_ref: torch.Tensor  # reference pictures of domain y_trg
    x_ref2: torch.Tensor
    y_trg: torch.Tensor
    z_trg: torch.Tensor  # latent codes (N, latent_dim) from a standard normal distribution
    z_trg2: torch.Tensor


class LabelledPictures(Dataset[GuidedBatch]):
    """An endless sequence of source pictures with their guides.

    All domains are equally likely, however many pictures they have. Everything random about item ``n`` is a function
    of (seed, n): a resumed run needs no sampler state.

    Args:
        root: holds ``train/<domain>/``, or ``trainA/`` and ``trainB/``, whose domains are then named A and B.
        randcrop_prob: probability that a picture is cropped before it is resized.

    Raises:
        DatasetError: there are fewer than two domains, or one has fewer than two pictures, or none that can be read.
    """

    def __init__(self, root: Path, *, img_size: int, latent_dim: int, randcrop_prob: float, seed: int) -> None:
        folders = domain_folders(root)
        self.domains = list(folders)
        self.paths = [list_pictures(folder) for folder in folders.values()]
        self.counts = dict(zip(folders, map(len, self.paths), strict=True))
        check_labelled(root.name, self.counts)
        held_out = held_out_folders(root)
        self._held_out = [list_pictures(held_out[name]) if name in held_out else [] for name in folders]
        self.reader = PictureReader(root, (*self.paths, *self._held_out))
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
        position = int(torch.randint(len(paths), (), generator=random))
        cropped = torch.rand((), generator=random) < self.randcrop_prob
        picture = next(self.reader.readable(paths[place] for place in _from(position, len(paths))))
        box = _crop_box(picture.size, random) if cropped else None
        picture = picture.resize((self.img_size, self.img_size), Image.Resampling.BILINEAR, box=box)
        if torch.rand((), generator=random) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return pixels.to_tensor([np.asarray(picture)])[0]

    def held_out(self, count: int) -> list[torch.Tensor]:
        """Up to ``count`` held-out pictures of each domain, (N, 3, S, S); an empty list if a domain has none."""
        if not all(self._held_out):
            return []
        return [_whole(self.reader.readable(paths), count, self.img_size) for paths in self._held_out]

    def fixed_inputs(self, count: int) -> torch.Tensor:
        """The first ``count`` pictures of each domain, (domains, count, 3, S, S): held-out ones if it has any."""
        rows = []
        for paths, held_out in zip(self.paths, self._held_out, strict=True):
            x = _whole(self.reader.readable(held_out or paths), count, self.img_size)
            rows.append(x[[n % len(x) for n in range(count)]])
        return torch.stack(rows)


def _resized(picture: Image.Image, size: int) -> Image.Image:
    """The picture as a square of ``size`` px, as CycleGAN's code makes it."""
    return picture.resize((size, size), Image.Resampling.BICUBIC)


def _whole(pictures: Iterator[Image.Image], count: int, size: int) -> torch.Tensor:
    """Up to ``count`` of these pictures, uncropped, as (N, 3, S, S) in [-1, 1]."""
    return pixels.to_tensor([np.asarray(_resized(picture, size)) for picture in itertools.islice(pictures, count)])


def _from(position: int, count: int) -> Iterator[int]:
    """The numbers below ``count`` from ``position`` on, then those before it."""
    return itertools.chain(range(position, count), range(position))


def _crop_box(size: tuple[int, int], random: torch.Generator) -> tuple[float, float, float, float]:
    """A random crop of a picture of ``size``, as left, top, right, bottom in px."""
    width, height = size
    area, ratio, x, y = torch.rand(4, generator=random).tolist()
    area = width * height * (CROP_SCALE[0] + area * (CROP_SCALE[1] - CROP_SCALE[0]))
    ratio = math.exp(math.log(CROP_RATIO[0]) + ratio * math.log(CROP_RATIO[1] / CROP_RATIO[0]))
    w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = x * (width - w), y * (height - h)
    return left, top, left + w, top + h
