"""The layers that the graphs are made of. Features are (N, C, H, W) float32, N, H and W open."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.serving.openvino_runtime import openvino, ops
from models.serving.tensors import Tensors

Node = Any  # an output of an operation; OpenVINO's decorated functions have no types
Border = Literal["reflect", "replicate"]

EPSILON = 1e-5  # what torch's normalisations add to the variance


def integers(values: Sequence[int]) -> Node:
    """A constant (len(values),) int64."""
    return ops.constant(np.array(values, np.int64)).output(0)


def number(value: float) -> Node:
    """A constant float32 without axes."""
    return ops.constant(np.float32(value)).output(0)


def as_features(pictures: Node) -> Node:
    """(N, H, W, 3) uint8 to (N, 3, H, W) in [-1, 1], as :func:`models.pixels.to_tensor`."""
    channels_first = ops.convert(ops.transpose(pictures, integers([0, 3, 1, 2])), "f32")
    return ops.subtract(ops.multiply(channels_first, number(1 / 127.5)), number(1.0)).output(0)


def as_pictures(x: Node) -> Node:
    """Undo :func:`as_features`, as :func:`models.pixels.to_pictures`: round to the nearest level and clip."""
    levels = ops.round(ops.multiply(ops.add(x, number(1.0)), number(127.5)), "half_to_even")
    return ops.transpose(ops.convert(ops.clamp(levels, 0.0, 255.0), "u8"), integers([0, 2, 3, 1])).output(0)


def sides(x: Node) -> Node:
    """Height and width, (2,) int64."""
    return ops.gather(ops.shape_of(x, "i64"), integers([2, 3]), integers([0])).output(0)


def padded(x: Node, pixels: Node, border: Border) -> Node:
    """``pixels``, (1,) int64, more on each side, continued by a border."""
    axes = ops.concat([integers([0, 0]), pixels, pixels], 0)
    return ops.pad(x, axes, axes, {"reflect": "reflect", "replicate": "edge"}[border]).output(0)


def cropped(x: Node, pixels: Node, to: Node) -> Node:
    """The part of the sides ``to``, (2,) int64, that begins ``pixels``, (1,) int64, from the top and the left."""
    start = ops.concat([pixels, pixels], 0)
    return ops.slice(x, start, ops.add(start, to), integers([1, 1]), integers([2, 3])).output(0)


def relu(x: Node) -> Node:
    """max(x, 0), but NaN stays NaN, where OpenVINO's own gives 0 and so a picture of nothing."""
    return leaky_relu(x, 1e-30)


def leaky_relu(x: Node, slope: float = 0.2) -> Node:
    """x, or ``slope`` times x below 0."""
    return ops.prelu(x, ops.constant(np.array([slope], np.float32))).output(0)


def instance_norm(x: Node) -> Node:
    """Each channel of each picture with mean 0 and variance 1."""
    return ops.mvn(x, integers([2, 3]), True, EPSILON, "inside_sqrt").output(0)


def moments(x: Node) -> tuple[Node, Node]:
    """Mean and variance of each channel over all pictures together, (1, C, 1, 1) each."""
    everywhere = integers([0, 2, 3])
    mean = ops.reduce_mean(x, everywhere, True)
    centred = ops.subtract(x, mean)
    return mean.output(0), ops.reduce_mean(ops.multiply(centred, centred), everywhere, True).output(0)


def joint_norm(x: Node) -> tuple[Node, Node, Node]:
    """Each channel with mean 0 and variance 1 over all pictures together; its mean and variance before, (C,) each."""
    mean, variance = moments(x)
    centred = ops.subtract(x, mean)
    deviation = ops.sqrt(ops.add(variance, number(EPSILON)))
    channels = integers([-1])
    flat = (ops.reshape(moment, channels, False).output(0) for moment in (mean, variance))
    return ops.divide(centred, deviation).output(0), *flat


def scaled(x: Node, scale: NDArray[np.float32], shift: NDArray[np.float32]) -> Node:
    """A scale and a shift a channel, (C,) each."""
    by, to = (ops.constant(numbers.reshape(1, -1, 1, 1)) for numbers in (scale, shift))
    return ops.add(ops.multiply(x, by), to).output(0)


def affine_instance_norm(x: Node, tensors: Tensors, name: str, dim: int) -> Node:
    """:func:`instance_norm` with a scale and a shift that were learned."""
    return scaled(instance_norm(x), tensors.take(f"{name}.weight", dim), tensors.take(f"{name}.bias", dim))


def batch_norm(x: Node, tensors: Tensors, name: str, dim: int) -> Node:
    """Normalisation by the statistics of the training set."""
    weight, bias, mean, variance = (
        tensors.take(f"{name}.{part}", dim) for part in ("weight", "bias", "running_mean", "running_var")
    )
    tensors.drop(f"{name}.num_batches_tracked")
    scale = weight / np.sqrt(variance + np.float32(EPSILON))
    return scaled(x, scale, bias - mean * scale)


def convolution(
    x: Node,
    tensors: Tensors,
    name: str,
    dims: tuple[int, int],
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
) -> Node:
    """torch's ``Conv2d``.

    Args:
        dims: channels in and out.
    """
    weight = tensors.take(f"{name}.weight", dims[1], dims[0], kernel, kernel)
    around = [padding, padding]
    out = ops.convolution(x, ops.constant(weight), [stride, stride], around, around, [1, 1]).output(0)
    return _biased(out, tensors, name, dims[1]) if bias else out


def depthwise_convolution(x: Node, tensors: Tensors, name: str, dim: int, kernel: int, *, stride: int) -> Node:
    """torch's ``Conv2d`` with a group for each channel."""
    weight = tensors.take(f"{name}.weight", dim, 1, kernel, kernel)[:, np.newaxis]
    out = ops.group_convolution(x, ops.constant(weight), [stride, stride], [0, 0], [0, 0], [1, 1]).output(0)
    return _biased(out, tensors, name, dim)


def doubling_convolution(x: Node, tensors: Tensors, name: str, dims: tuple[int, int], *, bias: bool) -> Node:
    """torch's ``ConvTranspose2d`` with kernel 3, stride 2, padding 1 and output padding 1: twice the sides."""
    weight = tensors.take(f"{name}.weight", dims[0], dims[1], 3, 3)
    out = ops.convolution_backprop_data(
        x,
        ops.constant(weight),
        strides=[2, 2],
        pads_begin=[1, 1],
        pads_end=[1, 1],
        dilations=[1, 1],
        output_padding=[1, 1],
    ).output(0)
    return _biased(out, tensors, name, dims[1]) if bias else out


def blurred_halving(x: Node, tensors: Tensors, name: str, dim: int) -> Node:
    """:class:`models.cyclegan.sampling.BlurredHalving`."""
    kernels = ops.constant(tensors.take(f"{name}.filt", dim, 1, 3, 3)[:, np.newaxis])
    x = padded(x, integers([1]), "reflect")
    return ops.group_convolution(x, kernels, [2, 2], [0, 0], [0, 0], [1, 1]).output(0)


def blurred_doubling(x: Node, tensors: Tensors, name: str, dim: int) -> Node:
    """:class:`models.cyclegan.sampling.BlurredDoubling`."""
    kernels = ops.constant(tensors.take(f"{name}.filt", dim, 1, 4, 4)[:, np.newaxis])
    x = padded(x, integers([1]), "replicate")
    return ops.group_convolution_backprop_data(
        x, kernels, strides=[2, 2], pads_begin=[3, 3], pads_end=[3, 3], dilations=[1, 1]
    ).output(0)


def linear(x: Node, tensors: Tensors, name: str, dims: tuple[int, int]) -> Node:
    """torch's ``Linear``; (N, in) to (N, out)."""
    weight = ops.constant(tensors.take(f"{name}.weight", dims[1], dims[0]))
    return ops.add(ops.matmul(x, weight, False, True), ops.constant(tensors.take(f"{name}.bias", dims[1]))).output(0)


def _biased(x: Node, tensors: Tensors, name: str, dim: int) -> Node:
    return ops.add(x, ops.constant(tensors.take(f"{name}.bias", dim).reshape(1, -1, 1, 1))).output(0)


def halved(x: Node) -> Node:
    """torch's ``avg_pool2d`` with kernel 2."""
    return ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], True, "floor").output(0)


def doubled(x: Node) -> Node:
    """Twice the sides, each number four times."""
    factors = ops.constant(np.array([2, 2], np.float32))
    return ops.interpolate(
        x,
        factors,
        mode="nearest",
        shape_calculation_mode="scales",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=integers([2, 3]),
    ).output(0)


def resized(x: Node, to: Node, *, align_corners: bool = False) -> Node:
    """torch's bilinear ``interpolate`` to the sides ``to``, (2,) int64."""
    return ops.interpolate(
        x,
        to,
        mode="linear_onnx",
        shape_calculation_mode="sizes",
        coordinate_transformation_mode="align_corners" if align_corners else "half_pixel",
        axes=integers([2, 3]),
    ).output(0)


def picture_graph(inputs: Sequence[Any], x: Node, name: str) -> openvino.Model:
    """A graph whose outputs are ``pictures``, (N, H, W, 3) uint8, and ``finite``, () float32.

    ``finite`` is NaN or infinite if a number that the pictures are made of is.
    """
    pictures = as_pictures(x)
    pictures.get_tensor().set_names({"pictures"})
    finite = ops.reduce_mean(x, integers([0, 1, 2, 3]), False).output(0)
    finite.get_tensor().set_names({"finite"})
    return openvino.Model([ops.result(pictures), ops.result(finite)], list(inputs), name)
