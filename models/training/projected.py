"""Discriminators that judge a picture by the features of a network that knows pictures already."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from models.training.feature_network import CHANNELS

MIXED = 64  # channels after the projection


class ProjectedDiscriminator(nn.Module):
    """Projected GANs (Sauer et al., 2021, arXiv:2111.01007, section 3), with a patch-wise discriminator at each scale.

    Features of all scales are mixed by fixed random convolutions, first across channels, then from the coarsest scale
    to the finest (section 3.2), so that no discriminator can attend to a part of the features alone. Each scale has a
    discriminator with spectral normalisation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.across_channels = nn.ModuleList(nn.Conv2d(channels, MIXED, 1, bias=False) for channels in CHANNELS)
        self.across_scales = nn.ModuleList(nn.Conv2d(MIXED, MIXED, 3, padding=1, bias=False) for _ in CHANNELS)
        self.judges = nn.ModuleList(_judge() for _ in CHANNELS)
        for module in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> "ProjectedDiscriminator":
        """Train the judges, or not; the projections stay as they were drawn."""
        super().requires_grad_(False)
        self.judges.requires_grad_(requires_grad)
        return self

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Score the features of N pictures, the finest first, as logits (N, 1, h, w) of each scale, higher for real."""
        logits = []
        coarser: torch.Tensor | None = None
        parts = zip(features, self.across_channels, self.across_scales, self.judges, strict=True)
        for found, across_channels, across_scales, judge in reversed(list(parts)):
            mixed = across_channels(found)
            if coarser is not None:
                mixed = mixed + functional.interpolate(coarser, size=mixed.shape[2:], mode="bilinear")
            coarser = across_scales(mixed)
            logits.append(judge(coarser))
        return logits[::-1]


def _judge() -> nn.Module:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(MIXED, MIXED, 3, padding=1)),
        nn.LeakyReLU(0.2, inplace=True),
        spectral_norm(nn.Conv2d(MIXED, 2 * MIXED, 3, stride=2, padding=1)),
        nn.LeakyReLU(0.2, inplace=True),
        spectral_norm(nn.Conv2d(2 * MIXED, 1, 1)),
    )
