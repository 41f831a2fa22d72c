"""The landmark network: a stacked hourglass with coordinate channels, as released with StarGAN v2.

Bulat and Tzimiropoulos, 2017 (arXiv:1703.07332) describe its blocks, Wang et al., 2019 (arXiv:1904.07399) the
coordinate channels and the 98 points. The names of its layers are those of the released weights.
"""

import torch
from torch import nn
from torch.nn import functional

from models.landmarks.masks import prepare_masks

SIDE = 256  # px of the pictures that the network reads
MAP_SIDE = 64  # px of its heat maps
HOURGLASS_DEPTH = 4
DIM = 256


class CoordConv(nn.Module):
    """A convolution that also sees where it is: row, column and distance from the centre, each in its own channel."""

    def __init__(self, dim_in: int, dim_out: int, kernel_size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim_in + 3, dim_out, kernel_size, stride=stride, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        rows = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)[:, None].expand(height, width)
        columns = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).expand(height, width)
        radius = (rows.square() + columns.square()).sqrt()
        where = torch.stack([rows, columns, radius / radius.max()]).expand(x.shape[0], 3, height, width)
        out: torch.Tensor = self.conv(torch.cat([x, where], dim=1))
        return out


class ConvBlock(nn.Module):
    """Three convolutions in a row whose outputs are laid side by side: half, a quarter and a quarter of ``dim_out``."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(dim_in)
        self.conv1 = nn.Conv2d(dim_in, dim_out // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim_out // 2)
        self.conv2 = nn.Conv2d(dim_out // 2, dim_out // 4, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(dim_out // 4)
        self.conv3 = nn.Conv2d(dim_out // 4, dim_out // 4, 3, padding=1, bias=False)
        self.downsample = (
            nn.Sequential(nn.BatchNorm2d(dim_in), nn.ReLU(), nn.Conv2d(dim_in, dim_out, 1, bias=False))
            if dim_in != dim_out
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = self.conv1(functional.relu(self.bn1(x)))
        quarter = self.conv2(functional.relu(self.bn2(half)))
        last = self.conv3(functional.relu(self.bn3(quarter)))
        out: torch.Tensor = torch.cat([half, quarter, last], dim=1) + self.downsample(x)
        return out


class Hourglass(nn.Module):
    """Features at five resolutions, down and up again; (N, DIM, H, W) in and out, sides multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.coordconv = CoordConv(DIM, DIM, 1)
        for level in range(1, HOURGLASS_DEPTH + 1):
            for name in ("b1", "b2", "b3"):
                self.add_module(f"{name}_{level}", ConvBlock(DIM, DIM))
        self.b2_plus_1 = ConvBlock(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._level(HOURGLASS_DEPTH, self.coordconv(x))

    def _level(self, level: int, x: torch.Tensor) -> torch.Tensor:
        beside, down, up = (self.get_submodule(f"{name}_{level}") for name in ("b1", "b2", "b3"))
        low = down(functional.avg_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        out: torch.Tensor = beside(x) + functional.interpolate(up(low), scale_factor=2, mode="nearest")
        return out


class LandmarkNetwork(nn.Module):
    """Finds the points of a face that fills a picture; it cannot find a face in a whole photo."""

    def __init__(self, num_landmarks: int = 98) -> None:
        super().__init__()
        self.conv1 = CoordConv(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = ConvBlock(64, 128)
        self.conv3 = ConvBlock(128, 128)
        self.conv4 = ConvBlock(128, DIM)
        self.m0 = Hourglass()
        self.top_m_0 = ConvBlock(DIM, DIM)
        self.conv_last0 = nn.Conv2d(DIM, DIM, 1)
        self.bn_end0 = nn.BatchNorm2d(DIM)
        self.l0 = nn.Conv2d(DIM, num_landmarks + 1, 1)  # the last map is of the face's outlines

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Heat maps (N, num_landmarks, 64, 64) of pictures (N, 3, 256, 256), float32 in [-1, 1]."""
        x = functional.relu(self.bn1(self.conv1((x + 1) / 2)))
        x = functional.avg_pool2d(self.conv2(x), 2)
        x = self.top_m_0(self.m0(self.conv4(self.conv3(x))))
        x = self.l0(functional.relu(self.bn_end0(self.conv_last0(x))))
        return x[:, :-1]

    def masks(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The generator's two masks, each (N, 1, 256, 256) in [0, 1], of pictures (N, 3, H, W) in [-1, 1]."""
        maps = self(_at_side(x))
        return prepare_masks(functional.interpolate(maps, size=(SIDE, SIDE), mode="bilinear", align_corners=True))

    def landmarks(self, x: torch.Tensor) -> torch.Tensor:
        """The points (N, num_landmarks, 2) as x, y in px of pictures (N, 3, 256, 256) in [-1, 1]."""
        return peaks(self(_at_side(x))) * (SIDE / MAP_SIDE)


def peaks(maps: torch.Tensor) -> torch.Tensor:
    """Where each of the heat maps (N, K, H, W) is highest: (N, K, 2) as x, y in px, pixel centres at halves.

    A quarter of a pixel is added towards the higher neighbour, except at the border.
    """
    height, width = maps.shape[2:]
    best = maps.flatten(2).argmax(dim=2)
    y, x = best // width, best % width
    flat = maps.flatten(2)

    def at(dy: int, dx: int) -> torch.Tensor:
        index = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
        return flat.gather(2, index[:, :, None])[:, :, 0]

    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    towards = torch.stack([at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)], dim=2).sign()
    return torch.stack([x, y], dim=2) + 0.5 + 0.25 * towards * inside[:, :, None]


def _at_side(x: torch.Tensor) -> torch.Tensor:
    # Also where it changes nothing: a tracer would keep the way that its example took.
    return functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
