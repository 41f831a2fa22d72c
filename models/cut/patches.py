"""Patches of a picture as the generator's encoder sees them: its features at some places, projected (section 3)."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from models.cyclegan import ResnetGenerator

TINY = 1e-7  # added to the length of a vector that it is divided by


def encoder_layers(n_blocks: int, *, antialias: bool) -> list[int]:
    """The layers of a :class:`ResnetGenerator` whose features are compared.

    They are the pixels, the two halving convolutions, the first and the fifth of nine residual blocks (appendix); with
    fewer blocks the middle one takes the place of the fifth.
    """
    halving, first_block = ((4, 8), 12) if antialias else ((4, 7), 10)
    return sorted({0, *halving, first_block, first_block + n_blocks // 2})


class PatchTranslator(nn.Module):
    """A generator that also gives the features of what it translates, for training."""

    def __init__(self, generator: ResnetGenerator, layers: Sequence[int]) -> None:
        super().__init__()
        self.generator = generator
        self.layers = layers

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Translate (N, 3, H, W) in [-1, 1]; with the features of ``x``, (N, C, h, w) of each layer."""
        return self.generator.with_features(x, self.layers)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The features alone, which costs about half."""
        return self.generator.features(x, self.layers)

    def feature_shapes(self, side: int) -> list[torch.Size]:
        """(C, h, w) of each layer's features of a picture whose sides are ``side``."""
        on_no_device = copy.deepcopy(self.generator).to("meta")
        features = on_no_device.features(torch.zeros(1, 3, side, side, device="meta"), self.layers)
        return [x.shape[1:] for x in features]


class PatchHeads(nn.Module):
    """Projects features of patches, by a perceptron for each layer, to vectors of length 1 that are compared.

    The state-dict keys are those of the paper's code (``mlp_0.0.weight`` ...).

    Args:
        channels: of each layer's features.
        dim: length of the vectors.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self._count = len(channels)
        for n, count in enumerate(channels):
            self.add_module(f"mlp_{n}", nn.Sequential(nn.Linear(count, dim), nn.ReLU(), nn.Linear(dim, dim)))

    def forward(self, features: Sequence[torch.Tensor], places: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Project the features at some places.

        Args:
            features: (N, C, h, w) of each layer.
            places: (P,) int64 of each layer, row-major over h × w.

        Returns:
            (N, P, dim) float32 of each layer, each vector of length 1.
        """
        projected = []
        for n, (x, at) in enumerate(zip(features, places, strict=True)):
            patches = x.flatten(2)[:, :, at].transpose(1, 2)
            vectors = self.get_submodule(f"mlp_{n}")(patches).float()
            projected.append(vectors / (vectors.norm(dim=2, keepdim=True) + TINY))
        return projected


def draw_places(shapes: Sequence[torch.Size], count: int, random: torch.Generator) -> list[torch.Tensor]:
    """For each layer, up to ``count`` different places of its features, (P,) int64 on the CPU."""
    return [torch.randperm(h * w, generator=random)[:count] for _, h, w in shapes]


def mirrored_places(shapes: Sequence[torch.Size], places: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Where what is at these places comes to lie when left and right are exchanged."""
    return [at + w - 1 - 2 * (at % w) for (_, _, w), at in zip(shapes, places, strict=True)]


def init_xavier(network: nn.Module, gain: float = 0.02) -> None:
    """Draw weights from N(0, 2 gain² / (inputs + outputs)) (Glorot and Bengio, 2010) and set biases to zero, in place.

    Batch normalisation starts with scales from N(1, gain²), as in the paper's code.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
