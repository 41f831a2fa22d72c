"""The paper's two networks (section 7.2 and appendix), with the state-dict keys of the released weights."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn

from models.cyclegan.sampling import BlurredDoubling, BlurredHalving

Norm = Literal["instance", "batch"]
Padding = Literal["reflect", "replicate", "zero"]

_BORDERS: dict[str, Callable[[int], nn.Module]] = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}


def _normalisation(norm: Norm, dim: int) -> nn.Module:
    """Instance normalisation has neither parameters nor statistics here; batch normalisation has both."""
    return nn.BatchNorm2d(dim) if norm == "batch" else nn.InstanceNorm2d(dim)


class ResidualBlock(nn.Module):
    """Two padded 3 × 3 convolutions around a shortcut; (N, dim, H, W) in and out.

    The layers' numbers, and so the state-dict keys, are those of the reference: padding by reflection or replication is
    a layer of its own, zero padding is part of the convolution, and dropout is a layer too.
    """

    def __init__(
        self, dim: int, *, norm: Norm = "instance", dropout: bool = False, padding: Padding = "reflect"
    ) -> None:
        super().__init__()
        border = _BORDERS.get(padding)
        layers: list[nn.Module] = []
        for convolution in (1, 2):
            if border is not None:
                layers.append(border(1))
            inside = 0 if border is not None else 1
            layers.append(nn.Conv2d(dim, dim, kernel_size=3, padding=inside, bias=norm == "instance"))
            layers.append(_normalisation(norm, dim))
            if convolution == 1:
                layers.append(nn.ReLU(inplace=True))
                layers += [nn.Dropout(0.5)] if dropout else []
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.conv_block(x)
        return out


class ResnetGenerator(nn.Module):
    """The generator of section 7.2: c7s1-64, d128, d256, n × R256, u128, u64, c7s1-3.

    CUT's is the same with anti-aliased sampling (Park et al., 2020, arXiv:2007.15651; Zhang, 2019, arXiv:1904.11486).

    With instance normalisation a picture's result does not depend on the rest of its batch. Batch normalisation and
    dropout act in training only, so a network that translates must be in ``eval`` mode.

    Raises:
        ValueError: there is no such network.
    """

    def __init__(
        self,
        ngf: int = 64,  # channels after the first convolution; the deepest layers have 4 × ngf
        n_blocks: int = 9,  # residual blocks, from 1; the paper uses 9 at 256 px and 6 at 128 px
        norm: Norm = "instance",  # with batch normalisation only the last convolution has a bias
        dropout: bool = False,  # in the residual blocks
        padding: Padding = "reflect",  # of the residual blocks; the two outer convolutions always reflect
        antialias: bool = False,  # halve and double the sides by blurring, as CUT does, in place of strides
    ) -> None:
        super().__init__()
        if ngf < 1 or n_blocks < 1:
            raise ValueError(f"ResnetGenerator needs ngf and n_blocks of at least 1, not {ngf} and {n_blocks}")
        if norm not in ("instance", "batch") or padding not in (*_BORDERS, "zero"):
            raise ValueError(f"ResnetGenerator knows no norm {norm!r} or no padding {padding!r}")
        bias = norm == "instance"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, ngf, kernel_size=7, bias=bias),
            _normalisation(norm, ngf),
            nn.ReLU(inplace=True),
        ]
        for dim in (ngf, 2 * ngf):
            layers += [
                nn.Conv2d(dim, 2 * dim, kernel_size=3, stride=1 if antialias else 2, padding=1, bias=bias),
                _normalisation(norm, 2 * dim),
                nn.ReLU(inplace=True),
            ]
            layers += [BlurredHalving(2 * dim)] if antialias else []
        layers += [ResidualBlock(4 * ngf, norm=norm, dropout=dropout, padding=padding) for _ in range(n_blocks)]
        for dim in (4 * ngf, 2 * ngf):
            if antialias:
                layers += [BlurredDoubling(dim), nn.Conv2d(dim, dim // 2, kernel_size=3, padding=1, bias=bias)]
            else:
                layers += [
                    nn.ConvTranspose2d(dim, dim // 2, kernel_size=3, stride=2, padding=1, output_padding=1, bias=bias)
                ]
            layers += [
                _normalisation(norm, dim // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, kernel_size=7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Translate (N, 3, H, W) float32 in [-1, 1], sides multiples of 4 and at least 8, into the same shape."""
        out: torch.Tensor = self.model(x)
        return out

    def with_features(self, x: torch.Tensor, layers: Sequence[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """:meth:`forward`, and what these layers of the sequence give on the way, (N, C, h, w) each."""
        features = []
        for n, layer in enumerate(self.model):
            x = layer(x)
            if n in layers:
                features.append(x)
        return x, features

    def features(self, x: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
        """What these layers of the sequence give, without the layers after them."""
        features = []
        for n, layer in enumerate(self.model[: max(layers) + 1]):
            x = layer(x)
            if n in layers:
                features.append(x)
        return features


class PatchDiscriminator(nn.Module):
    """The PatchGAN of section 7.2: judges overlapping patches, 70 × 70 pixels at ``n_layers=3``."""

    def __init__(
        self,
        ndf: int = 64,  # channels after the first convolution, at most 8 × ndf later
        n_layers: int = 3,  # stride-2 convolutions; each roughly doubles the patch
        norm: Norm = "instance",  # with batch normalisation only the first and the last convolution have a bias
        antialias: bool = False,  # halve the sides by blurring, as CUT does, in place of strides
    ) -> None:
        super().__init__()
        strided = 1 if antialias else 2
        layers: list[nn.Module] = [
            nn.Conv2d(3, ndf, kernel_size=4, stride=strided, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        layers += [BlurredHalving(ndf)] if antialias else []
        dim_in = ndf
        for n in range(1, n_layers + 1):
            dim_out = ndf * min(2**n, 8)
            halves = n < n_layers
            stride = strided if halves else 1
            layers += [
                nn.Conv2d(dim_in, dim_out, kernel_size=4, stride=stride, padding=1, bias=norm == "instance"),
                _normalisation(norm, dim_out),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            layers += [BlurredHalving(dim_out)] if antialias and halves else []
            dim_in = dim_out
        layers += [nn.Conv2d(dim_in, 1, kernel_size=4, padding=1)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score (N, 3, H, W) float32 in [-1, 1] as logits (N, 1, h, w), one a patch, higher for real."""
        out: torch.Tensor = self.model(x)
        return out


@torch.no_grad()
def balance_upsampling(generator: nn.Module) -> None:
    """Give the four kinds of output pixels of each transposed convolution the same gain, in place.

    With kernel 3 and stride 2, an output pixel receives 1, 2, 2 or 4 of the taps, depending on its position. If their
    sums differ, a flat input becomes a checkerboard (Odena et al., 2016, "Deconvolution and Checkerboard
    Artifacts"), which takes long training to unlearn. Balancing from the first step on prevents it. It must not be
    applied to a network that was trained without it.
    """
    for module in generator.modules():
        if isinstance(module, nn.ConvTranspose2d):
            kernel = module.weight  # (in, out, 3, 3)
            kinds = [kernel[:, :, rows, columns] for rows in _PARITIES for columns in _PARITIES]
            gains = [taps.sum(dim=(2, 3), keepdim=True) for taps in kinds]
            mean = torch.stack(gains).mean(dim=0)
            for taps, gain in zip(kinds, gains, strict=True):
                taps.add_((mean - gain) / (taps.shape[2] * taps.shape[3]))


_PARITIES = (slice(1, 2), slice(0, 3, 2))  # the taps that contribute to even and to odd output rows or columns


def init_normal(network: nn.Module, std: float = 0.02) -> None:
    """Draw convolution weights from N(0, std²) and set biases to zero (section 7.1), in place.

    Batch normalisation starts with scales from N(1, std²), as in the paper's code.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
