"""StarGAN v2's networks as graphs: :mod:`models.stargan_v2.networks` between pictures, style codes and latent codes."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from models.serving.graphs import layers
from models.serving.graphs.layers import Node, integers, leaky_relu
from models.serving.openvino_runtime import openvino, ops
from models.serving.tensors import Tensors
from models.stargan_v2.shape import (
    BOTTLENECK_BLOCKS,
    HIDDEN_DIM,
    MASKED_SIDES,
    encoder_halvings,
    halvings,
    masked_depths,
    widths,
)
from models.store.model_card import StarGANNetwork

AS_LARGE_AS_EACH = 1 / math.sqrt(2)  # what the sum of two branches is multiplied by

MaskSource = Literal["landmarks", "ones"] | None


def generator_graph(network: StarGANNetwork, tensors: Tensors, masks: MaskSource) -> openvino.Model:
    """From ``pictures``, (N, H, W, 3) uint8, and ``style``, (N, style_dim), to pictures of the same shape.

    With masks by landmarks it takes ``first`` and ``second`` too, (N, 1, h, w) each.

    Raises:
        CheckpointError: the tensors are not this network's.
    """
    source = ops.parameter([-1, -1, -1, 3], np.uint8, "pictures")
    style = ops.parameter([-1, network.style_dim], np.float32, "style")
    inputs = [source, style]
    if masks == "landmarks":
        inputs += [ops.parameter([-1, 1, -1, -1], np.float32, name) for name in ("first", "second")]
    drawn = [node.output(0) for node in inputs[2:]]
    x = _generator(layers.as_features(source.output(0)), style.output(0), network, tensors, masks, drawn)
    return layers.picture_graph(inputs, x, "generator")


def _generator(
    x: Node, s: Node, network: StarGANNetwork, tensors: Tensors, masks: MaskSource, drawn: Sequence[Node]
) -> Node:
    depth_most = halvings(network.img_size, network.w_hpf)
    dims = widths(network.img_size, network.max_conv_dim, network.base_dim, halvings=depth_most)
    sides = masked_depths(network.img_size) if masks else {}
    carried: dict[int, Node] = {}
    x = layers.convolution(x, tensors, "generator.from_rgb", (3, dims[0]), 3, padding=1)
    bottleneck = [(dims[-1], dims[-1])] * BOTTLENECK_BLOCKS
    for number, (narrow, wide) in enumerate([*itertools.pairwise(dims), *bottleneck]):
        depth = min(number, depth_most)
        if depth in sides and depth not in carried:
            carried[depth] = x
        x = _residual_block(
            x, tensors, f"generator.encode.{number}", (narrow, wide), normalize=True, downsample=number < depth_most
        )
    for number, (narrow, wide) in enumerate([*bottleneck, *reversed(list(itertools.pairwise(dims)))]):
        upsample = number >= BOTTLENECK_BLOCKS
        x = _styled_block(x, s, tensors, f"generator.decode.{number}", (wide, narrow), network, upsample=upsample)
        depth = min(depth_most, depth_most + BOTTLENECK_BLOCKS - 1 - number)
        if depth in carried:
            mask = drawn[0 if sides[depth] == MASKED_SIDES[0] else 1] if drawn else None
            x = ops.add(x, _high_pass(carried[depth], mask, dims[depth], network.w_hpf)).output(0)
    if network.normalize_rgb:
        x = layers.affine_instance_norm(x, tensors, "generator.to_rgb.0", dims[0])
    return layers.convolution(leaky_relu(x), tensors, "generator.to_rgb.2", (dims[0], 3), 1)


def _residual_block(
    x: Node, tensors: Tensors, name: str, dims: tuple[int, int], *, normalize: bool, downsample: bool
) -> Node:
    dim_in = dims[0]

    def normalised(x: Node, which: str) -> Node:
        return layers.affine_instance_norm(x, tensors, f"{name}.{which}", dim_in) if normalize else x

    def pooled(x: Node) -> Node:
        return layers.halved(x) if downsample else x

    shortcut = pooled(_fitted(x, tensors, name, dims))
    x = leaky_relu(normalised(x, "norm1"))
    x = pooled(layers.convolution(x, tensors, f"{name}.conv1", (dim_in, dim_in), 3, padding=1))
    x = leaky_relu(normalised(x, "norm2"))
    x = layers.convolution(x, tensors, f"{name}.conv2", dims, 3, padding=1)
    return _joined(x, shortcut)


def _styled_block(
    x: Node, s: Node, tensors: Tensors, name: str, dims: tuple[int, int], network: StarGANNetwork, *, upsample: bool
) -> Node:
    dim_in, dim_out = dims
    before = x
    x = leaky_relu(_adaptive_instance_norm(x, s, tensors, f"{name}.norm1", dim_in, network.style_dim))
    x = layers.doubled(x) if upsample else x
    x = layers.convolution(x, tensors, f"{name}.conv1", dims, 3, padding=1)
    x = leaky_relu(_adaptive_instance_norm(x, s, tensors, f"{name}.norm2", dim_out, network.style_dim))
    x = layers.convolution(x, tensors, f"{name}.conv2", (dim_out, dim_out), 3, padding=1)
    # A convolution of one pixel and doubling can be exchanged; this way it has a quarter of the pixels.
    shortcut = _fitted(before, tensors, name, dims)
    if network.w_hpf:  # the released weights have this layer, but nothing runs through it
        return x
    return _joined(x, layers.doubled(shortcut) if upsample else shortcut)


def _fitted(x: Node, tensors: Tensors, name: str, dims: tuple[int, int]) -> Node:
    """The shortcut around a block, with as many channels as come out of the block."""
    return x if dims[0] == dims[1] else layers.convolution(x, tensors, f"{name}.conv1x1", dims, 1, bias=False)


def _joined(x: Node, shortcut: Node) -> Node:
    return ops.multiply(ops.add(x, shortcut), layers.number(AS_LARGE_AS_EACH)).output(0)


def _adaptive_instance_norm(x: Node, s: Node, tensors: Tensors, name: str, dim: int, style_dim: int) -> Node:
    """The style sets each channel's scale and mean."""
    both = layers.linear(s, tensors, f"{name}.fc", (style_dim, 2 * dim))
    gamma, beta = ops.split(ops.unsqueeze(both, integers([2, 3])), ops.constant(np.int64(1)), 2).outputs()
    return ops.add(ops.multiply(layers.instance_norm(x), ops.add(gamma, layers.number(1.0))), beta).output(0)


def _high_pass(x: Node, mask: Node | None, dim: int, w_hpf: float) -> Node:
    """Edges of the masked features, by the Laplacian of the 8 neighbours. No mask: of all."""
    if mask is not None:
        x = ops.multiply(x, layers.resized(mask, layers.sides(x))).output(0)
    edges = np.full((dim, 1, 1, 3, 3), -1.0, np.float32)
    edges[..., 1, 1] = 8.0
    kernel = ops.constant(edges / np.float32(w_hpf) if w_hpf else edges)
    return ops.group_convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1]).output(0)


def mapping_graph(network: StarGANNetwork, tensors: Tensors) -> openvino.Model:
    """From latent codes (N, latent_dim) to their styles in each domain, (N, num_domains, style_dim)."""
    source = ops.parameter([-1, network.latent_dim], np.float32, "latents")
    h = source.output(0)
    for layer, dim_in in enumerate((network.latent_dim, *[HIDDEN_DIM] * 3)):
        h = layers.relu(layers.linear(h, tensors, f"mapping_network.shared.{2 * layer}", (dim_in, HIDDEN_DIM)))
    styles = []
    for domain in range(network.num_domains):
        name, of_domain = f"mapping_network.unshared.{domain}", h
        for layer in range(3):
            dims = (HIDDEN_DIM, HIDDEN_DIM)
            of_domain = layers.relu(layers.linear(of_domain, tensors, f"{name}.{2 * layer}", dims))
        styles.append(layers.linear(of_domain, tensors, f"{name}.6", (HIDDEN_DIM, network.style_dim)))
    return _style_graph(source, styles, "mapping network")


def encoder_graph(network: StarGANNetwork, tensors: Tensors) -> openvino.Model:
    """From pictures (N, img_size, img_size, 3) uint8 to their styles in each domain, (N, num_domains, style_dim)."""
    source = ops.parameter([-1, network.img_size, network.img_size, 3], np.uint8, "pictures")
    depth = encoder_halvings(network.img_size)
    dims = widths(network.img_size, network.max_conv_dim, network.base_dim, halvings=depth)
    name, dim = "style_encoder.shared", dims[-1]
    x = layers.convolution(layers.as_features(source.output(0)), tensors, f"{name}.0", (3, dims[0]), 3, padding=1)
    for number, pair in enumerate(itertools.pairwise(dims), start=1):
        x = _residual_block(x, tensors, f"{name}.{number}", pair, normalize=False, downsample=True)
    x = leaky_relu(layers.convolution(leaky_relu(x), tensors, f"{name}.{depth + 2}", (dim, dim), 4))
    h = ops.squeeze(x, integers([2, 3])).output(0)
    styles = [
        layers.linear(h, tensors, f"style_encoder.unshared.{domain}", (dim, network.style_dim))
        for domain in range(network.num_domains)
    ]
    return _style_graph(source, styles, "style encoder")


def _style_graph(source: openvino.Node, styles: Sequence[Node], name: str) -> openvino.Model:
    each = [ops.unsqueeze(style, integers([1])) for style in styles]
    return openvino.Model([ops.result(ops.concat(each, 1))], [source], name)
