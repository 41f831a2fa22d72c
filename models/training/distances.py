"""Distances between sets of pictures: FID and KID with Inception, LPIPS with AlexNet, and one that needs no network.

The licences of those networks' weights don't let us ship them. If they are in torch's own folder of downloaded weights,
``$TORCH_HOME/hub/checkpoints``, they are used; they are never downloaded.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch.nn import functional

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity names it
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"  # as torchvision names it
INCEPTION = "inception-v3-compat"  # as torch-fidelity names the network of the FID in the literature
INCEPTION_LAYER = "2048"
AT_ONCE = 8  # pictures
LEAST_PICTURES = 2  # in each set, to have a covariance

PATCH_SIDE = 7  # px
PATCHES = 4096  # of each set at each scale
DIRECTIONS = 128
LEAST_CONTRAST = 1 / 127.5  # one level of 8 bits; less can't be seen


def missing(file: str) -> str | None:
    """Why this file of weights can't be used; None if it is there."""
    # Unlike Path.is_file, it doesn't raise if a folder on the way can't be entered.
    return None if os.path.isfile(_path(file)) else f"{file} is not in the trainer's $TORCH_HOME/hub/checkpoints"


def _path(file: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / file


class InceptionDistance:
    """FID (Heusel et al. 2017) and KID (Bińkowski et al. 2018), with torch-fidelity's Inception network."""

    def __init__(self, device: torch.device) -> None:
        from torch_fidelity.utils import create_feature_extractor

        self._device = device
        if device.type == "cuda":
            torch.cuda.set_device(device)  # torch-fidelity uses the current device
        self._network = create_feature_extractor(
            INCEPTION,
            [INCEPTION_LAYER],
            feature_extractor_weights_path=str(_path(INCEPTION_FILE)),
            cuda=device.type == "cuda",
            verbose=False,
        )

    def between(self, generated: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
        """``FID`` and ``KID`` of two sets of pictures, (N, 3, S, S) and (M, 3, S, S) in [-1, 1]."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        x, y = self._features(generated), self._features(real)
        found = kid_features_to_metric(x, y, kid_subset_size=min(len(x), len(y), 1000), verbose=False)
        return {"FID": frechet_distance(x, y), "KID": float(found[KEY_METRIC_KID_MEAN])}

    @torch.no_grad()
    def _features(self, pictures: torch.Tensor) -> torch.Tensor:
        levels = pictures.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return torch.cat([self._network(batch.to(self._device))[0].cpu() for batch in torch.split(levels, AT_ONCE)])


def frechet_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """Squared Fréchet distance of the normal distributions that fit the rows of ``x`` (N, D) and ``y`` (M, D).

    The usual way decomposes the product of the two (D, D) covariances, which takes seconds. With X and Y the centred
    rows, these are XᵀX and YᵀY, and the eigenvalues of their product are the squares of XYᵀ's singular values.
    """
    x, y = x.double(), y.double()
    x_centred, y_centred = ((rows - rows.mean(dim=0)) / math.sqrt(len(rows) - 1) for rows in (x, y))
    in_common = torch.linalg.svdvals(x_centred @ y_centred.T).sum()
    means_apart = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return float(means_apart + x_centred.square().sum() + y_centred.square().sum() - 2 * in_common)


class PatchDistance:
    """Distance of sets of pictures from real ones, in the colours and textures of patches at several scales.

    This is the sliced Wasserstein distance between the patches of each level of a Laplacian pyramid (Karras et al.,
    2018, "Progressive growing of GANs", section 5). The paper normalises the colours of both sets; here only the scale
    of each level is normalised, by the contrast of the real pictures, so that colours count.

    Directions and places of patches are the same in every process and for every checkpoint, so distances can be
    compared. Of two sets of one shape the same places are taken.

    Args:
        real: (N, 3, S, S) in [-1, 1].
    """

    def __init__(self, real: torch.Tensor) -> None:
        levels = list(_pyramid(real))
        self._contrasts = [max(LEAST_CONTRAST, _contrast(level)) for level in levels]
        self._real = [_projected(level) for level in levels]

    def to(self, pictures: torch.Tensor) -> float:
        """The distance of (M, 3, S, S) pictures in [-1, 1]: 0 if their patches are those of the real ones."""
        distances = [
            float((_projected(level) - real).abs().mean()) / contrast
            for level, real, contrast in zip(_pyramid(pictures), self._real, self._contrasts, strict=True)
        ]
        return sum(distances) / len(distances)


def structure_kept(x: torch.Tensor, translated: torch.Tensor) -> float:
    """How much of what (N, 3, S, S) pictures show is in their translations: 1 if all is, 0 if nothing is.

    It is the correlation of the details of their brightness, averaged over all scales but the finest, which brushwork
    may change, and the coarsest, which is a matter of light; below 0 it counts as 0.
    """
    shares = []
    brightness = (pictures.mean(dim=1, keepdim=True) for pictures in (x, translated))
    levels = list(zip(*map(_pyramid, brightness), strict=True))
    for one, other in levels[1:-1] or levels[:1]:
        a, b = one.flatten(1), other.flatten(1)
        scale = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(LEAST_CONTRAST)
        shares.append(((a * b).sum(dim=1) / scale).mean())
    return max(0.0, float(torch.stack(shares).mean()))


def _pyramid(x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The details of each scale, (N, 3, s, s), the finest first, and last what is left in small."""
    x = x.float()
    while min(x.shape[2:]) >= 4 * PATCH_SIDE:
        half = functional.avg_pool2d(x, 2)
        yield x - functional.interpolate(half, size=x.shape[2:], mode="bilinear")
        x = half
    yield x


def _contrast(level: torch.Tensor) -> float:
    return float((level - level.mean(dim=(0, 2, 3), keepdim=True)).square().mean().sqrt())


def _projected(level: torch.Tensor) -> torch.Tensor:
    """Patches projected onto random directions, (DIRECTIONS, PATCHES), in ascending order for each direction."""
    random = torch.Generator().manual_seed(0)
    directions = torch.randn(DIRECTIONS, 3 * PATCH_SIDE**2, generator=random)
    directions /= directions.norm(dim=1, keepdim=True)
    windows = level.cpu().unfold(2, PATCH_SIDE, 1).unfold(3, PATCH_SIDE, 1)  # a view: (N, 3, places, places, 7, 7)
    n = torch.arange(PATCHES) % len(level)
    y, x = (torch.randint(size, (PATCHES,), generator=random) for size in windows.shape[2:4])
    return (directions @ windows[n, :, y, x].flatten(1).T).sort(dim=1).values


class PerceptualDistance:
    """LPIPS (Zhang et al. 2018) with AlexNet, as in table 1 of StarGAN v2, from torchmetrics."""

    def __init__(self, device: torch.device) -> None:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self._device = device
        self._metric = LearnedPerceptualImagePatchSimilarity(net_type="alex").to(self._device)

    def between(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Mean distance between each picture of ``x`` and its counterpart in ``y``, (N, 3, S, S) in [-1, 1] each."""
        return self._mean(zip(torch.split(x, AT_ONCE), torch.split(y, AT_ONCE), strict=True))

    def diversity(self, variants: Iterable[torch.Tensor]) -> float:
        """Mean distance of all pairs within each of ``variants``, (K, 3, S, S) in [-1, 1]; NaN if there is no pair."""
        return self._mean(_pairs(batch) for batch in variants if len(batch) > 1)

    def _mean(self, pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
        count = 0
        for x, y in pairs:
            count += len(x)
            self._metric.update(x.clamp(-1, 1).to(self._device), y.clamp(-1, 1).to(self._device))
        if not count:
            return math.nan
        mean = float(self._metric.compute())
        self._metric.reset()
        return mean


def _pairs(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of pictures in (K, 3, S, S), as two batches of equal length."""
    n, m = torch.combinations(torch.arange(len(batch))).T
    return batch[n], batch[m]
