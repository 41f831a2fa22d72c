"""The painter and the predictor as graphs: :mod:`models.style.networks` between pictures and style codes."""

from collections.abc import Callable, Sequence

import numpy as np

from models.serving.engine import Moments, Numbers
from models.serving.graphs import layers
from models.serving.graphs.layers import Node, integers, number
from models.serving.openvino_runtime import openvino, ops
from models.serving.tensors import Tensors
from models.store.model_card import StyleNetwork
from models.style.shape import CODE_SIDE, PREDICTOR_DIM, STEM_DIM, inverted_residuals

# Normalises features, then scales and shifts each channel by what a linear layer, (2C, D) and (2C,), makes of a code.
StyleNorm = Callable[[Node, Numbers, Numbers], Node]


def painter_graph(network: StyleNetwork, tensors: Tensors) -> openvino.Model:
    """From ``pictures``, (N, H, W, 3) uint8, sides multiples of 4, and ``code``, (N, D), to pictures of the same shape.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    code = ops.parameter([-1, network.code_dim], np.float32, "code")

    def norm(x: Node, weight: Numbers, bias: Numbers) -> Node:
        both = ops.add(ops.matmul(code, ops.constant(weight), False, True), ops.constant(bias))
        scale, shift = ops.split(ops.unsqueeze(both, integers([2, 3])), ops.constant(np.int64(1)), 2).outputs()
        return ops.add(ops.multiply(layers.instance_norm(x), scale), shift).output(0)

    x = _painter(layers.as_features(source.output(0)), network, tensors, norm)
    return layers.picture_graph([source, code], x, "painter")


def measuring_graph(network: StyleNetwork, tensors: Tensors, code: Numbers) -> openvino.Model:
    """From ``pictures`` to the mean and the variance of each normalisation in turn, (C,) float32 each.

    They are taken over all pictures together, and the layers after them are normalised by them and styled by ``code``,
    (D,).

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    measured: list[Node] = []

    def norm(x: Node, weight: Numbers, bias: Numbers) -> Node:
        x, *moments = layers.joint_norm(x)
        measured.extend(moments)
        return layers.scaled(x, *np.split(weight @ code + bias, 2))

    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    _painter(layers.as_features(source.output(0)), network, tensors, norm)
    return openvino.Model([ops.result(node) for node in measured], [source], "moments")


def filming_graph(network: StyleNetwork, tensors: Tensors, code: Numbers) -> tuple[openvino.Model, int]:
    """As :func:`painter_graph` in the style of one code, (D,), by moments that run on from frame to frame.

    Its further inputs are ``share``, (), and ``before``, (K,): each normalisation is by ``share`` of the pictures' own
    mean and variance and the rest of those in ``before``. What they are together is its further output ``moments``.

    Returns:
        The graph, and K.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    share = ops.parameter([], np.float32, "share")
    before = ops.parameter([-1], np.float32, "before")
    running: list[Node] = []
    length = 0

    def run_on(moment: Node, dim: int) -> Node:
        nonlocal length
        start, length = length, length + dim
        old = ops.slice(before, integers([start]), integers([length]), integers([1]))
        new = ops.add(old, ops.multiply(share, ops.subtract(ops.reshape(moment, integers([-1]), False), old)))
        running.append(new.output(0))
        return ops.reshape(new, integers([1, dim, 1, 1]), False).output(0)

    def norm(x: Node, weight: Numbers, bias: Numbers) -> Node:
        scale, shift = np.split(weight @ code + bias, 2)
        mean, variance = (run_on(moment, len(scale)) for moment in layers.moments(x))
        deviation = ops.sqrt(ops.add(variance, number(layers.EPSILON)))
        return layers.scaled(ops.divide(ops.subtract(x, mean), deviation).output(0), scale, shift)

    x = _painter(layers.as_features(source.output(0)), network, tensors, norm)
    moments = ops.concat(running, 0).output(0)
    moments.get_tensor().set_names({"moments"})
    graph = layers.picture_graph([source, share, before], x, "filming")
    graph.add_results([ops.result(moments)])
    return graph, length


def tile_graph(network: StyleNetwork, tensors: Tensors, code: Numbers, moments: Sequence[Moments]) -> openvino.Model:
    """As :func:`painter_graph` in the style of one code, (D,); each normalisation is by the next of these moments.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    left = iter(moments)

    def norm(x: Node, weight: Numbers, bias: Numbers) -> Node:
        mean, variance = next(left)
        scale, shift = np.split(weight @ code + bias, 2)
        scale = scale / np.sqrt(variance + np.float32(layers.EPSILON))
        return layers.scaled(x, scale, shift - mean * scale)

    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    x = _painter(layers.as_features(source.output(0)), network, tensors, norm)
    return layers.picture_graph([source], x, "tile")


def _painter(x: Node, network: StyleNetwork, tensors: Tensors, norm: StyleNorm) -> Node:
    """Features (N, 3, H, W) in [-1, 1] to such features."""

    def layer(x: Node, name: str, dims: tuple[int, int], kernel: int, *, stride: int = 1, styled: bool = True) -> Node:
        name = f"painter.{name}"
        x = layers.padded(x, integers([kernel // 2]), "reflect")
        x = layers.convolution(x, tensors, f"{name}.conv", dims, kernel, stride=stride, bias=not styled)
        if not styled:
            return x
        weight = tensors.take(f"{name}.norm.linear.weight", 2 * dims[1], network.code_dim)
        return norm(x, weight, tensors.take(f"{name}.norm.linear.bias", 2 * dims[1]))

    x = ops.multiply(ops.add(x, number(1.0)), number(0.5)).output(0)
    way_in = (3, network.full), (network.full, network.half), (network.half, network.quarter)
    for n, (dims, kernel, stride) in enumerate(zip(way_in, (9, 3, 3), (1, 2, 2), strict=True)):
        x = layer(x, f"contract.{n}", dims, kernel, stride=stride, styled=network.styled_contraction)
        x = layers.relu(x)
    for n in range(network.n_blocks):
        dims = (network.quarter, network.quarter)
        inside = layers.relu(layer(x, f"blocks.{n}.first", dims, 3))
        x = ops.add(x, layer(inside, f"blocks.{n}.second", dims, 3)).output(0)
    for n, dims in enumerate(((network.quarter, network.half_out), (network.half_out, network.full_out))):
        x = layers.relu(layer(layers.doubled(x), f"expand.{n}", dims, 3))
    x = layer(x, "expand.2", (network.full_out, 3), 9)
    return ops.tanh(ops.multiply(x, number(0.5))).output(0)


def predictor_graph(network: StyleNetwork, tensors: Tensors) -> openvino.Model:
    """From ``pictures``, (N, 256, 256, 3) uint8, to style codes, (N, D).

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    source = ops.parameter([-1, CODE_SIDE, CODE_SIDE, 3], np.uint8, "pictures")
    x = ops.multiply(ops.add(layers.as_features(source.output(0)), number(1.0)), number(0.5)).output(0)
    name = "predictor"
    x = _relu6(layers.convolution(_padded(x, 2), tensors, f"{name}.stem", (3, STEM_DIM), 3, stride=2))
    for n, (dim_in, dim_inside, dim_out, stride) in enumerate(inverted_residuals()):
        block, before = f"{name}.blocks.{n}", x
        if dim_inside != dim_in:
            x = _relu6(layers.convolution(x, tensors, f"{block}.expand", (dim_in, dim_inside), 1))
        x = layers.depthwise_convolution(
            _padded(x, stride), tensors, f"{block}.depthwise", dim_inside, 3, stride=stride
        )
        x = layers.convolution(_relu6(x), tensors, f"{block}.project", (dim_inside, dim_out), 1)
        if dim_in == dim_out and stride == 1:
            x = ops.add(before, x).output(0)
    x = _relu6(layers.convolution(x, tensors, f"{name}.last", (inverted_residuals()[-1][2], PREDICTOR_DIM), 1))
    pooled = ops.reduce_mean(x, integers([2, 3]), False).output(0)
    code = layers.linear(pooled, tensors, f"{name}.code", (PREDICTOR_DIM, network.code_dim))
    return openvino.Model([ops.result(code)], [source], "style predictor")


def _padded(x: Node, stride: int) -> Node:
    """Zeros around, as TensorFlow puts them: only to the right and below where a stride of 2 halves even sides."""
    begin = integers([0, 0, 2 - stride, 2 - stride])
    return ops.pad(x, begin, integers([0, 0, 1, 1]), "constant", number(0.0)).output(0)


def _relu6(x: Node) -> Node:
    return ops.clamp(x, 0.0, 6.0).output(0)
