"""The paper's four networks (section 2 and appendix C), with the state-dict keys of the released weights.

Pictures are (N, 3, H, W) float32 in [-1, 1], style codes ``s`` (N, style_dim), domains ``y`` (N,) int64.
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional

from models.stargan_v2.shape import (
    BOTTLENECK_BLOCKS,
    HIDDEN_DIM,
    MASKED_SIDES,
    encoder_halvings,
    halvings,
    masked_depths,
    widths,
)


def _leaky_relu(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, 0.2)


class ResidualBlock(nn.Module):
    """Pre-activation block; (N, dim_in, H, W) to (N, dim_out, H, W), or half the sides if it downsamples."""

    def __init__(self, dim_in: int, dim_out: int, *, normalize: bool, downsample: bool) -> None:
        super().__init__()
        self.downsample = downsample
        self.conv1 = nn.Conv2d(dim_in, dim_in, 3, padding=1)
        self.conv2 = nn.Conv2d(dim_in, dim_out, 3, padding=1)
        self.norm1 = nn.InstanceNorm2d(dim_in, affine=True) if normalize else nn.Identity()
        self.norm2 = nn.InstanceNorm2d(dim_in, affine=True) if normalize else nn.Identity()
        self.conv1x1 = nn.Conv2d(dim_in, dim_out, 1, bias=False) if dim_in != dim_out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self._pool(self.conv1x1(x))
        x = self._pool(self.conv1(_leaky_relu(self.norm1(x))))
        x = self.conv2(_leaky_relu(self.norm2(x)))
        return (x + shortcut) / math.sqrt(2)  # as large as each of the two

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, 2) if self.downsample else x


class AdaIN(nn.Module):
    """Adaptive instance normalisation: the style sets each channel's scale and mean."""

    def __init__(self, style_dim: int, dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style_dim, 2 * dim)
        self.norm = nn.InstanceNorm2d(dim)

    def forward(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        gamma, beta = self.fc(s)[:, :, None, None].chunk(2, dim=1)
        out: torch.Tensor = (1 + gamma) * self.norm(x) + beta
        return out


class AdaINResidualBlock(nn.Module):
    """Block of the generator's second half; (N, dim_in, H, W) to (N, dim_out, H, W), or twice the sides.

    With the high-pass path there is no shortcut: the source's shapes come by that path alone.
    """

    def __init__(self, dim_in: int, dim_out: int, style_dim: int, *, shortcut: bool, upsample: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.upsample = upsample
        self.conv1 = nn.Conv2d(dim_in, dim_out, 3, padding=1)
        self.conv2 = nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.norm1 = AdaIN(style_dim, dim_in)
        self.norm2 = AdaIN(style_dim, dim_out)
        # The released weights have this layer in every block, also where nothing runs through it.
        self.conv1x1 = nn.Conv2d(dim_in, dim_out, 1, bias=False) if dim_in != dim_out else nn.Identity()
        self.conv1x1.requires_grad_(shortcut)

    def forward(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        shortcut = x
        x = self.conv1(self._double(_leaky_relu(self.norm1(x, s))))
        x = self.conv2(_leaky_relu(self.norm2(x, s)))
        return (x + self.conv1x1(self._double(shortcut))) / math.sqrt(2) if self.shortcut else x

    def _double(self, x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(x, scale_factor=2, mode="nearest") if self.upsample else x


class Generator(nn.Module):
    """Gives a picture the style ``s``, in its half of downsampling and its half of upsampling blocks (table 5)."""

    laplacian: torch.Tensor

    def __init__(
        self,
        img_size: int = 256,  # px, a power of two; sets depth, and width if base_dim is None
        style_dim: int = 64,
        max_conv_dim: int = 512,  # most channels of any layer
        w_hpf: float = 1,  # strength of the high-pass path is 1 / w_hpf; 0: no such path, one block less
        base_dim: int | None = None,  # channels at full resolution, doubled with each halving; None: 2**14 // img_size
        normalize_rgb: bool = True,  # normalise what colours are made of, as the paper does; see docs/training.md
    ) -> None:
        super().__init__()
        _check_img_size(img_size)
        dims = widths(img_size, max_conv_dim, base_dim, halvings=halvings(img_size, w_hpf))
        self.w_hpf = w_hpf
        self._masked_depths = masked_depths(img_size)
        self.from_rgb = nn.Conv2d(3, dims[0], 3, padding=1)
        self.encode = nn.ModuleList()
        self.decode = nn.ModuleList()
        for narrow, wide in itertools.pairwise(dims):
            self.encode.append(ResidualBlock(narrow, wide, normalize=True, downsample=True))
            self.decode.insert(0, AdaINResidualBlock(wide, narrow, style_dim, shortcut=w_hpf == 0, upsample=True))
        for _ in range(BOTTLENECK_BLOCKS):
            self.encode.append(ResidualBlock(dims[-1], dims[-1], normalize=True, downsample=False))
            block = AdaINResidualBlock(dims[-1], dims[-1], style_dim, shortcut=w_hpf == 0, upsample=False)
            self.decode.insert(0, block)
        norm = nn.InstanceNorm2d(dims[0], affine=True) if normalize_rgb else nn.Identity()
        self.to_rgb = nn.Sequential(norm, nn.LeakyReLU(0.2), nn.Conv2d(dims[0], 3, 1))
        # Filled in, not divided: on the device "meta" a division loads torch's compiler, which takes seconds.
        edges = torch.full((1, 1, 3, 3), -1.0 / (w_hpf or 1))
        edges[..., 1, 1] = 8.0 / (w_hpf or 1)
        self.register_buffer("laplacian", edges, persistent=False)

    def forward(
        self, x: torch.Tensor, s: torch.Tensor, masks: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Translate ``x``; its sides must be multiples of ``2 ** halvings(img_size, w_hpf)``.

        Args:
            masks: of where the high-pass path carries edges over, two of (N, 1, h, w) in [0, 1] at any size: for the
                coarsest features, and for the finer ones. None: nowhere.
        """
        depth = 0  # halvings; by the blocks' own flags, since a tracer would take one picture's shape for all
        carried: dict[int, torch.Tensor] = {}
        x = self.from_rgb(x)
        for block in self.encode:
            if masks is not None and depth in self._masked_depths and depth not in carried:
                carried[depth] = x
            x = block(x)
            depth += bool(block.downsample)
        for block in self.decode:
            x = block(x, s)
            depth -= bool(block.upsample)
            if masks is not None and depth in carried:
                mask = masks[0] if self._masked_depths[depth] == MASKED_SIDES[0] else masks[1]
                x = x + self._high_pass(carried[depth], mask)
        out: torch.Tensor = self.to_rgb(x)
        return out

    def _high_pass(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Edges of the masked features, by the Laplacian of the 8 neighbours."""
        mask = functional.interpolate(mask, size=x.shape[2:], mode="bilinear", align_corners=False)
        channels = x.shape[1]
        kernel = self.laplacian.to(x.dtype).expand(channels, 1, 3, 3)
        return functional.conv2d(mask.to(x.dtype) * x, kernel, padding=1, groups=channels)


class MappingNetwork(nn.Module):
    """Turns a latent code into a style code of a domain (table 6)."""

    def __init__(self, latent_dim: int = 16, style_dim: int = 64, num_domains: int = 2) -> None:
        super().__init__()
        shared: list[nn.Module] = []
        for dim_in in (latent_dim, *[HIDDEN_DIM] * 3):
            shared += [nn.Linear(dim_in, HIDDEN_DIM), nn.ReLU()]
        self.shared = nn.Sequential(*shared)
        self.unshared = nn.ModuleList(self._branch(style_dim) for _ in range(num_domains))

    @staticmethod
    def _branch(style_dim: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Linear(HIDDEN_DIM, HIDDEN_DIM), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(HIDDEN_DIM, style_dim))

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Style codes (N, style_dim) of the latent codes ``z``, (N, latent_dim) from a standard normal."""
        h = self.shared(z)
        return _of_domains(torch.stack([branch(h) for branch in self.unshared], dim=1), y)


class StyleEncoder(nn.Module):
    """Reads a picture's style code, as a picture of its domain (table 7)."""

    def __init__(
        self,
        img_size: int = 256,  # px
        style_dim: int = 64,
        num_domains: int = 2,
        max_conv_dim: int = 512,
        base_dim: int | None = None,
    ) -> None:
        super().__init__()
        layers, dim = _trunk(img_size, max_conv_dim, base_dim)
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList(nn.Linear(dim, style_dim) for _ in range(num_domains))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Style codes (N, style_dim) of pictures (N, 3, img_size, img_size)."""
        h = self.shared(x).flatten(1)
        return _of_domains(torch.stack([branch(h) for branch in self.unshared], dim=1), y)


class Discriminator(nn.Module):
    """Tells whether a picture is a real one of its domain (table 7)."""

    def __init__(
        self,
        img_size: int = 256,  # px
        num_domains: int = 2,
        max_conv_dim: int = 512,
        base_dim: int | None = None,
    ) -> None:
        super().__init__()
        layers, dim = _trunk(img_size, max_conv_dim, base_dim)
        self.main = nn.Sequential(*layers, nn.Conv2d(dim, num_domains, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Logits (N,), higher for real, of pictures (N, 3, img_size, img_size)."""
        return _of_domains(self.main(x).flatten(1), y)


def everywhere(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks, (N, 1, 1, 1) each, that let the high-pass path act all over pictures ``x``."""
    mask = x.new_ones(x.shape[0], 1, 1, 1)
    return mask, mask


def init_he(network: nn.Module) -> None:
    """Draw weights as He et al. (2015) do for ReLU, with biases of zero (appendix B), in place.

    AdaIN's biases are set to zero too: its scale is 1 + gamma, so that a fresh network passes everything on.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _trunk(img_size: int, max_conv_dim: int, base_dim: int | None) -> tuple[list[nn.Module], int]:
    """Layers from a picture to (N, dim, 1, 1), shared in shape by style encoder and discriminator; and ``dim``."""
    _check_img_size(img_size)
    dims = widths(img_size, max_conv_dim, base_dim, halvings=encoder_halvings(img_size))
    layers: list[nn.Module] = [nn.Conv2d(3, dims[0], 3, padding=1)]
    for narrow, wide in itertools.pairwise(dims):
        layers.append(ResidualBlock(narrow, wide, normalize=False, downsample=True))
    layers += [nn.LeakyReLU(0.2), nn.Conv2d(dims[-1], dims[-1], 4), nn.LeakyReLU(0.2)]
    return layers, dims[-1]


def _check_img_size(img_size: int) -> None:
    if img_size < 32 or img_size & (img_size - 1):
        raise ValueError(f"img_size must be a power of two of at least 32, not {img_size}")


def _of_domains(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of (N, num_domains, ...) each row's entry for its domain."""
    return outputs[torch.arange(y.shape[0], device=y.device), y]
