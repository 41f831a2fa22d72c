"""CycleGAN's generator as a graph: :class:`models.cyclegan.ResnetGenerator` between pictures."""

from collections.abc import Callable, Sequence

import numpy as np

from models.serving.engine import Moments
from models.serving.graphs import layers
from models.serving.graphs.layers import Node, integers
from models.serving.openvino_runtime import openvino, ops
from models.serving.tensors import Tensors
from models.store.model_card import CycleGANNetwork


def translator_graph(network: CycleGANNetwork, tensors: Tensors, *, margin: int) -> openvino.Model:
    """From ``pictures``, (N, H, W, 3) uint8, sides multiples of 4, to pictures of the same shape.

    Args:
        margin: px of reflected border around the network's input, less where the picture is too small for it.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    x = layers.as_features(source.output(0))
    whole = layers.sides(x)
    if margin:
        # The reflected margin must be smaller than the picture, and keep the sides multiples of 4.
        smallest = ops.reduce_min(whole, integers([0]), True)
        room = ops.subtract(smallest, integers([1]))
        pixels = ops.minimum(ops.subtract(room, ops.mod(room, integers([4]))), integers([margin])).output(0)
        x = layers.padded(x, pixels, "reflect")
    x = _generator(x, network, tensors, layers.instance_norm)
    tensors.require_all_taken()
    if margin:
        x = layers.cropped(x, pixels, whole)
    return layers.picture_graph([source], x, "translator")


def measuring_graph(network: CycleGANNetwork, tensors: Tensors) -> openvino.Model:
    """From ``pictures`` to the mean and the variance of each instance normalisation in turn, (C,) float32 each.

    They are taken over all pictures together, and the layers after them are normalised by them. There is no margin.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    measured: list[Node] = []

    def measure(x: Node) -> Node:
        x, *moments = layers.joint_norm(x)
        measured.extend(moments)
        return x

    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    _generator(layers.as_features(source.output(0)), network, tensors, measure)
    return openvino.Model([ops.result(node) for node in measured], [source], "moments")


def tile_graph(network: CycleGANNetwork, tensors: Tensors, moments: Sequence[Moments]) -> openvino.Model:
    """As :func:`translator_graph` without a margin; each instance normalisation is by the next of these moments.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    left = iter(moments)

    def normalise(x: Node) -> Node:
        mean, variance = next(left)
        scale = 1 / np.sqrt(variance + np.float32(layers.EPSILON))
        return layers.scaled(x, scale, -mean * scale)

    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    x = _generator(layers.as_features(source.output(0)), network, tensors, normalise)
    return layers.picture_graph([source], x, "tile")


def _generator(x: Node, network: CycleGANNetwork, tensors: Tensors, instance_norm: Callable[[Node], Node]) -> Node:
    ngf, bias = network.ngf, network.norm == "instance"

    def normalised(x: Node, name: int | str, dim: int) -> Node:
        return instance_norm(x) if bias else layers.batch_norm(x, tensors, f"model.{name}", dim)

    x = layers.padded(x, integers([3]), "reflect")
    x = layers.convolution(x, tensors, "model.1", (3, ngf), 7, bias=bias)
    x = layers.relu(normalised(x, 2, ngf))
    layer = 4  # number of the next one in torch's Sequential, which the keys have
    stride = 1 if network.antialias else 2
    for dim in (ngf, 2 * ngf):
        x = layers.convolution(x, tensors, f"model.{layer}", (dim, 2 * dim), 3, stride=stride, padding=1, bias=bias)
        x = layers.relu(normalised(x, layer + 1, 2 * dim))
        layer += 3
        if network.antialias:
            x = layers.blurred_halving(x, tensors, f"model.{layer}", 2 * dim)
            layer += 1
    for _ in range(network.n_blocks):
        x = _residual_block(x, network, tensors, layer, instance_norm)
        layer += 1
    for dim in (4 * ngf, 2 * ngf):
        if network.antialias:
            x = layers.blurred_doubling(x, tensors, f"model.{layer}", dim)
            layer += 1
            x = layers.convolution(x, tensors, f"model.{layer}", (dim, dim // 2), 3, padding=1, bias=bias)
        else:
            x = layers.doubling_convolution(x, tensors, f"model.{layer}", (dim, dim // 2), bias=bias)
        x = layers.relu(normalised(x, layer + 1, dim // 2))
        layer += 3
    x = layers.padded(x, integers([3]), "reflect")
    x = layers.convolution(x, tensors, f"model.{layer + 1}", (ngf, 3), 7)
    return ops.tanh(x).output(0)


def _residual_block(
    x: Node, network: CycleGANNetwork, tensors: Tensors, layer: int, instance_norm: Callable[[Node], Node]
) -> Node:
    dim, bias = 4 * network.ngf, network.norm == "instance"
    shortcut = x
    inner = 0  # number of the next layer in the block's Sequential
    for first in (True, False):
        if network.padding == "zero":
            around = 1
        else:
            x, around = layers.padded(x, integers([1]), network.padding), 0
            inner += 1
        name = f"model.{layer}.conv_block"
        x = layers.convolution(x, tensors, f"{name}.{inner}", (dim, dim), 3, padding=around, bias=bias)
        x = instance_norm(x) if bias else layers.batch_norm(x, tensors, f"{name}.{inner + 1}", dim)
        if first:
            x = layers.relu(x)
            inner += 4 if network.dropout else 3
    return ops.add(shortcut, x).output(0)
