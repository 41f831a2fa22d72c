"""Distances of pictures in the features of EfficientNet-Lite0, for where Inception's and AlexNet's weights are missing.

They are built as FID and LPIPS are, on another network, so their values can't be compared with those.
"""

import functools
from dataclasses import dataclass

import torch

from models.cyclegan.losses import content_distance
from models.training.distances import AT_ONCE, frechet_distance
from models.training.feature_network import FeatureNetwork


@dataclass(frozen=True)
class Seen:
    """What the network sees in N pictures."""

    features: list[torch.Tensor]  # (N, C, h, w) of each scale
    embeddings: torch.Tensor  # (N, 1280)

    def rolled(self) -> "Seen":
        """Each picture in the place of the one before it, the first in that of the last."""
        return Seen([one.roll(-1, dims=0) for one in self.features], self.embeddings.roll(-1, dims=0))


@torch.no_grad()
def seen(pictures: torch.Tensor, device: torch.device) -> Seen:
    """Look at (N, 3, H, W) pictures in [-1, 1] on a device; what is seen is on the CPU.

    Raises:
        NotInstalled: the package with the network's weights is not installed.
    """
    network = _network(str(device))
    looks = []
    for part in torch.split(pictures.clamp(-1, 1), AT_ONCE):
        features = network(part.to(device))
        looks.append([*features, network.embedding(features)])
    *features, embeddings = (torch.cat(parts).cpu() for parts in zip(*looks, strict=True))
    return Seen(features, embeddings)


def frechet(x: Seen, y: Seen) -> float:
    """Squared Fréchet distance of the embeddings of two sets of pictures.

    With few pictures it is too large, all the more the fewer they are: two halves of one set are not at 0. Compare only
    distances between sets of the same sizes.
    """
    return frechet_distance(x.embeddings, y.embeddings)


def content(x: Seen, y: Seen) -> float:
    """Mean :func:`~models.cyclegan.losses.content_distance` of N pictures and their counterparts."""
    return float(content_distance(x.features, y.features))


@functools.lru_cache(maxsize=1)
def _network(device: str) -> FeatureNetwork:
    with torch.random.fork_rng(devices=[]):  # a network that is built draws random numbers
        return FeatureNetwork().to(device)
