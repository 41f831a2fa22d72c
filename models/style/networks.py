"""The networks of a model that paints in the style of any picture, or in one of a fixed number of styles.

The painter is that of Dumoulin et al. (2017), "A Learned Representation for Artistic Style" (arXiv:1610.07629): a
style is a scale and a shift for each channel of each normalisation. There each of the styles trained has its own;
Ghiasi et al. (2017), "Exploring the structure of a real-time, arbitrary neural artistic stylization network"
(arXiv:1705.06830), predict them from a picture. Here both are linear functions of a style code: what the predictor
reads off a picture, or a weight for each fixed style.
"""

import torch
from torch import nn
from torch.nn import functional

from models.style.shape import PREDICTOR_DIM, STEM_DIM, inverted_residuals


class StyleNorm(nn.Module):
    """Instance normalisation, then a scale and a shift a channel that depend on the style code."""

    def __init__(self, dim: int, code_dim: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(dim)
        self.linear = nn.Linear(code_dim, 2 * dim)

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(code)[:, :, None, None].chunk(2, dim=1)
        out: torch.Tensor = self.norm(x) * scale + shift
        return out


class Layer(nn.Module):
    """A convolution with reflected borders and, unless it has a bias, a :class:`StyleNorm` after it."""

    def __init__(self, dim_in: int, dim_out: int, kernel: int, code_dim: int, *, stride: int = 1, styled: bool) -> None:
        super().__init__()
        self.padding = nn.ReflectionPad2d(kernel // 2)
        self.conv = nn.Conv2d(dim_in, dim_out, kernel, stride=stride, bias=not styled)
        self.norm = StyleNorm(dim_out, code_dim) if styled else None

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        x = self.conv(self.padding(x))
        return x if self.norm is None else self.norm(x, code)


class Residual(nn.Module):
    """Two layers around a shortcut."""

    def __init__(self, dim: int, code_dim: int) -> None:
        super().__init__()
        self.first = Layer(dim, dim, 3, code_dim, styled=True)
        self.second = Layer(dim, dim, 3, code_dim, styled=True)

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.second(functional.relu(self.first(x, code)), code)
        return out


class PainterNetwork(nn.Module):
    """Paints (N, 3, H, W) in [-1, 1], sides multiples of 4 and at least 16, in the styles of N codes.

    Args:
        widths: channels on the full, half and a quarter of the size on the way in, then on half and the full on the way
            out.
        styled_contraction: whether the style also acts on the way in.
    """

    def __init__(self, code_dim: int, widths: tuple[int, ...], n_blocks: int, *, styled_contraction: bool) -> None:
        super().__init__()
        full, half, quarter, half_out, full_out = widths
        self.contract = nn.ModuleList(
            Layer(*dims, kernel, code_dim, stride=stride, styled=styled_contraction)
            for dims, kernel, stride in (((3, full), 9, 1), ((full, half), 3, 2), ((half, quarter), 3, 2))
        )
        self.blocks = nn.ModuleList(Residual(quarter, code_dim) for _ in range(n_blocks))
        self.expand = nn.ModuleList(
            Layer(*dims, kernel, code_dim, styled=True)
            for dims, kernel in (((quarter, half_out), 3), ((half_out, full_out), 3), ((full_out, 3), 9))
        )

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        x = (x + 1) / 2
        for layer in self.contract:
            x = functional.relu(layer(x, code))
        for block in self.blocks:
            x = block(x, code)
        *doubling, last = self.expand
        for layer in doubling:
            x = functional.relu(layer(functional.interpolate(x, scale_factor=2, mode="nearest"), code))
        return torch.tanh(last(x, code) / 2)  # twice the sigmoid of the paper, less 1


class InvertedResidual(nn.Module):
    """A block of MobileNetV2, its batch normalisations folded into its convolutions."""

    def __init__(self, dim_in: int, dim_inside: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(dim_in, dim_inside, 1) if dim_inside != dim_in else None
        self.depthwise = nn.Conv2d(dim_inside, dim_inside, 3, stride=stride, groups=dim_inside)
        self.project = nn.Conv2d(dim_inside, dim_out, 1)
        self.shortcut = dim_in == dim_out and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x if self.expand is None else functional.relu6(self.expand(x))
        h = self.project(functional.relu6(self.depthwise(_padded(h, self.depthwise.stride[0]))))
        out: torch.Tensor = x + h if self.shortcut else h
        return out


def _padded(x: torch.Tensor, stride: int) -> torch.Tensor:
    """Zeros around, as TensorFlow puts them: only to the right and below where a stride of 2 halves even sides."""
    return functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class StylePredictor(nn.Module):
    """Reads the style code off (N, 3, 256, 256) in [-1, 1]: MobileNetV2 and a linear layer; (N, code_dim)."""

    def __init__(self, code_dim: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_DIM, 3, stride=2)
        self.blocks = nn.ModuleList(InvertedResidual(*shape) for shape in inverted_residuals())
        self.last = nn.Conv2d(inverted_residuals()[-1][2], PREDICTOR_DIM, 1)
        self.code = nn.Linear(PREDICTOR_DIM, code_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self.stem(_padded((x + 1) / 2, 2)))
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.code(functional.relu6(self.last(x)).mean(dim=(2, 3)))
        return out


class StyleEnsemble(nn.Module):
    """The painter and, in a model that takes its style from a picture, the predictor.

    The arguments are those of :class:`models.store.model_card.StyleNetwork`.
    """

    def __init__(
        self,
        code_dim: int,
        full: int,
        half: int,
        quarter: int,
        half_out: int,
        full_out: int,
        n_blocks: int,
        styled_contraction: bool = False,
        predictor: bool = True,
    ) -> None:
        super().__init__()
        widths = (full, half, quarter, half_out, full_out)
        self.painter = PainterNetwork(code_dim, widths, n_blocks, styled_contraction=styled_contraction)
        self.predictor = StylePredictor(code_dim) if predictor else None
