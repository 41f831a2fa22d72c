"""The landmark network as graphs: :mod:`models.landmarks.network`, and the masks drawn from its heat maps."""

import numpy as np

from models.landmarks.points import CHANGEABLE, EYES, FLOOR, GROUPS, NOSE_BRIDGE, POINTS, UNUSED
from models.serving.graphs import layers
from models.serving.graphs.layers import Node, integers, relu
from models.serving.openvino_runtime import openvino, ops
from models.serving.tensors import Tensors

SIDE = 256  # px of the pictures that the network reads
MAP_SIDE = 64  # px of its heat maps
HOURGLASS_DEPTH = 4
DIM = 256

PREFIX = "landmarks."  # of its tensors' names in the file of a StarGAN v2


def landmark_graph(tensors: Tensors) -> openvino.Model:
    """From pictures (N, H, W, 3) float32 in [0, 1] to ``heatmaps``, (N, 98, 64, 64), and ``first`` and ``second``.

    The latter are the two masks of the generator's high-pass path, (N, 1, 256, 256) in [0, 1].
    """
    source = ops.parameter([-1, -1, -1, 3], np.float32, "pictures")
    x = ops.transpose(source, integers([0, 3, 1, 2])).output(0)
    maps = _heatmaps(layers.resized(x, integers([SIDE, SIDE])), tensors)
    outputs = {"heatmaps": maps}
    outputs["first"], outputs["second"] = _masks(layers.resized(maps, integers([SIDE, SIDE]), align_corners=True))
    for name, node in outputs.items():
        node.get_tensor().set_names({name})
    return openvino.Model([ops.result(node) for node in outputs.values()], [source], "landmarks")


def _heatmaps(x: Node, tensors: Tensors) -> Node:
    """(N, 98, 64, 64) of features (N, 3, 256, 256) in [0, 1]."""

    def convolved(x: Node, name: str, dims: tuple[int, int]) -> Node:
        return layers.convolution(x, tensors, f"{PREFIX}{name}", dims, 1)

    x = _located_convolution(x, tensors, "conv1", (3, 64), SIDE, kernel=7, stride=2, padding=3)
    x = relu(layers.batch_norm(x, tensors, f"{PREFIX}bn1", 64))
    x = layers.halved(_block(x, tensors, "conv2", (64, 128)))
    x = _block(_block(x, tensors, "conv3", (128, 128)), tensors, "conv4", (128, DIM))
    x = _located_convolution(x, tensors, "m0.coordconv", (DIM, DIM), MAP_SIDE, kernel=1)
    x = _block(_hourglass(x, tensors, HOURGLASS_DEPTH), tensors, "top_m_0", (DIM, DIM))
    x = relu(layers.batch_norm(convolved(x, "conv_last0", (DIM, DIM)), tensors, f"{PREFIX}bn_end0", DIM))
    x = convolved(x, "l0", (DIM, POINTS + 1))  # the last map is of the face's outlines
    return ops.slice(x, integers([0]), integers([POINTS]), integers([1]), integers([1])).output(0)


def _located_convolution(
    x: Node,
    tensors: Tensors,
    name: str,
    dims: tuple[int, int],
    side: int,
    *,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
) -> Node:
    """A convolution that also sees row, column and distance from the centre of features of this side."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    rows, columns = np.broadcast_arrays(line[:, np.newaxis], line)
    radius = np.sqrt(np.square(rows) + np.square(columns))
    where = ops.constant(np.stack([rows, columns, radius / radius.max()])[np.newaxis])
    count = ops.gather(ops.shape_of(x, "i64"), integers([0]), integers([0]))
    everywhere = ops.broadcast(where, ops.concat([count, integers([3, side, side])], 0))
    x = ops.concat([x, everywhere], 1).output(0)
    name = f"{PREFIX}{name}.conv"
    return layers.convolution(x, tensors, name, (dims[0] + 3, dims[1]), kernel, stride=stride, padding=padding)


def _block(x: Node, tensors: Tensors, name: str, dims: tuple[int, int]) -> Node:
    """Three convolutions in a row whose outputs are laid side by side: half, a quarter and a quarter of ``dims[1]``."""
    dim_in, dim_out = dims
    name = f"{PREFIX}{name}"

    def convolved(x: Node, number: int, dims: tuple[int, int]) -> Node:
        x = relu(layers.batch_norm(x, tensors, f"{name}.bn{number}", dims[0]))
        return layers.convolution(x, tensors, f"{name}.conv{number}", dims, 3, padding=1, bias=False)

    half = convolved(x, 1, (dim_in, dim_out // 2))
    quarter = convolved(half, 2, (dim_out // 2, dim_out // 4))
    last = convolved(quarter, 3, (dim_out // 4, dim_out // 4))
    shortcut = x
    if dim_in != dim_out:
        shortcut = relu(layers.batch_norm(x, tensors, f"{name}.downsample.0", dim_in))
        shortcut = layers.convolution(shortcut, tensors, f"{name}.downsample.2", dims, 1, bias=False)
    return ops.add(ops.concat([half, quarter, last], 1), shortcut).output(0)


def _hourglass(x: Node, tensors: Tensors, level: int) -> Node:
    """Features at this and the lower levels of resolution, down and up again."""

    def block(x: Node, name: str) -> Node:
        return _block(x, tensors, f"m0.{name}", (DIM, DIM))

    beside = block(x, f"b1_{level}")
    low = block(layers.halved(x), f"b2_{level}")
    low = _hourglass(low, tensors, level - 1) if level > 1 else block(low, "b2_plus_1")
    return ops.add(beside, layers.doubled(block(low, f"b3_{level}"))).output(0)


def _masks(maps: Node) -> tuple[Node, Node]:
    """:func:`models.landmarks.masks.prepare_masks`, of heat maps (N, 98, 256, 256)."""
    warm = ops.convert(ops.greater_equal(maps, layers.number(FLOOR)), "f32")
    maps = ops.multiply(maps, warm)
    low, high = (reduce(maps, integers([2, 3]), True) for reduce in (ops.reduce_min, ops.reduce_max))
    maps = ops.divide(ops.subtract(maps, low), ops.add(ops.subtract(high, low), layers.number(1e-6))).output(0)

    def moved_up(first: int, last: int, rows: int, power: int) -> Node:
        """Of the points from ``first`` to ``last``."""
        of_points = ops.slice(maps, integers([first]), integers([last + 1]), integers([1]), integers([1]))
        rolled = ops.roll(of_points, integers([-rows]), integers([2])) if rows else of_points
        return ops.power(rolled, layers.number(power)).output(0) if power != 1 else rolled.output(0)

    eyes = EYES.start, EYES.stop - 1
    parts = [(first, last, moved_up(first, last, rows, power)) for first, last, rows, power in GROUPS]
    parts.append((NOSE_BRIDGE.start, NOSE_BRIDGE.stop - 1, moved_up(NOSE_BRIDGE.start, NOSE_BRIDGE.stop - 1, 4, 1)))
    parts.append((*eyes, ops.add(moved_up(*eyes, -8, 3), moved_up(*eyes, -24, 1)).output(0)))
    treated = {point for first, last, _ in parts for point in range(first, last + 1)}
    parts += [(point, point, moved_up(point, point, 0, 1)) for point in range(POINTS) if point not in treated]
    return _united(parts, without=UNUSED), _united(parts, without=(*UNUSED, *CHANGEABLE))


def _united(parts: list[tuple[int, int, Node]], *, without: tuple[int, ...]) -> Node:
    """The sum of the maps of these points, at most 1."""
    sums = []
    for first, last, of_points in parts:
        used = [point - first for point in range(first, last + 1) if point not in without]
        if used:
            chosen = ops.gather(of_points, integers(used), integers([1]))
            sums.append(ops.reduce_sum(chosen, integers([1]), True))
    total = sums[0]
    for more in sums[1:]:
        total = ops.add(total, more)
    return ops.clamp(total, 0.0, 1.0).output(0)
