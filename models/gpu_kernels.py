"""Triton's kernels for pictures in the memory format channels last: moments, and what is done with them in one pass.

Pictures are (N, H, W, C) in memory. A program works on a tile: some pixels of one picture in some channels. Numbers are
float32 while they are computed with. Importing this needs Triton, and running it a C compiler.

Only ``channels`` is specialised: the other sizes vary, and would cost a compilation each.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(area, channels, tile_pixels: tl.constexpr, tile_channels: tl.constexpr):
    """The picture, the pixels and the channels of this program's tile, and which of the latter two there are."""
    pixel = tl.program_id(0) * tile_pixels + tl.arange(0, tile_pixels)
    channel = tl.program_id(1) * tile_channels + tl.arange(0, tile_channels)
    inside = (pixel < area)[:, None] & (channel < channels)[None, :]
    return tl.program_id(2).to(tl.int64), pixel, channel, inside


@triton.jit(do_not_specialize=["area", "tiles"])
def tile_moments(x, means, squares, area, channels, tiles, tile_pixels: tl.constexpr, tile_channels: tl.constexpr):
    """The mean of each tile, and its sum of squared deviations from that, (N, tiles, C) each.

    Sums of squares about zero would lose the digits of a channel whose mean is large.
    """
    tile = tl.program_id(0)
    n, pixel, channel, inside = _tile(area, channels, tile_pixels, tile_channels)
    at = n * area * channels + pixel[:, None] * channels + channel[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, axis=0) / tl.minimum(tile_pixels, area - tile * tile_pixels)
    deviation = tl.where(inside, value - mean[None, :], 0.0)
    into = (n * tiles + tile) * channels + channel
    tl.store(means + into, mean, mask=channel < channels)
    tl.store(squares + into, tl.sum(deviation * deviation, axis=0), mask=channel < channels)


@triton.jit(do_not_specialize=["area", "tiles"])
def moments(
    means, squares, mean_out, scale_out, area, channels, tiles, eps,
    tile_pixels: tl.constexpr, tiles_at_once: tl.constexpr, tile_channels: tl.constexpr,
):  # fmt: skip
    """The mean over all tiles and the reciprocal of the standard deviation, (N, C) each (Chan et al., 1979)."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = part * tile_channels + tl.arange(0, tile_channels)
    known = (channel < channels)[None, :]
    total = tl.zeros((tile_channels,), tl.float32)
    for first in range(0, tiles, tiles_at_once):
        tile = first + tl.arange(0, tiles_at_once)
        inside = (tile < tiles)[:, None] & known
        pixels = tl.minimum(tile_pixels, area - tile * tile_pixels).to(tl.float32)[:, None]
        at = (n * tiles + tile[:, None]) * channels + channel[None, :]
        total += tl.sum(tl.where(inside, tl.load(means + at, mask=inside, other=0.0) * pixels, 0.0), axis=0)
    mean = total / area
    square = tl.zeros((tile_channels,), tl.float32)
    for first in range(0, tiles, tiles_at_once):
        tile = first + tl.arange(0, tiles_at_once)
        inside = (tile < tiles)[:, None] & known
        pixels = tl.minimum(tile_pixels, area - tile * tile_pixels).to(tl.float32)[:, None]
        at = (n * tiles + tile[:, None]) * channels + channel[None, :]
        off = tl.load(means + at, mask=inside, other=0.0) - mean[None, :]
        within = tl.load(squares + at, mask=inside, other=0.0)
        square += tl.sum(tl.where(inside, within + pixels * off * off, 0.0), axis=0)
    into = n * channels + channel
    tl.store(mean_out + into, mean, mask=channel < channels)
    tl.store(scale_out + into, 1.0 / tl.sqrt(square / area + eps), mask=channel < channels)


@triton.jit
def _reflected(at, length):
    """Where a picture of this length that is reflected at its edges takes the pixel from."""
    at = tl.abs(at)
    return tl.minimum(at, 2 * (length - 1) - at)


@triton.jit(do_not_specialize=["height", "width"])
def finished(
    x, y, mean, scale, height, width, channels, slope,
    margin: tl.constexpr, normalises: tl.constexpr, tile_pixels: tl.constexpr, tile_channels: tl.constexpr,
):  # fmt: skip
    """Normalise, then multiply what is below zero by the slope, then reflect a margin around the picture."""
    wide = width + 2 * margin
    area = (height + 2 * margin) * wide
    n, pixel, channel, inside = _tile(area, channels, tile_pixels, tile_channels)
    source = pixel
    if margin > 0:
        source = _reflected(pixel // wide - margin, height) * width + _reflected(pixel % wide - margin, width)
    at = n * height * width * channels + source[:, None] * channels + channel[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if normalises:
        of = n * channels + channel
        known = channel < channels
        value -= tl.load(mean + of, mask=known, other=0.0)[None, :]
        value *= tl.load(scale + of, mask=known, other=0.0)[None, :]
    value = tl.where(value < 0, value * slope, value)
    into = n * area * channels + pixel[:, None] * channels + channel[None, :]
    tl.store(y + into, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _gathered(gradient, n, pixel, channel, inside, height, width, channels, margin: tl.constexpr):
    """The gradient of each pixel: its own, and that of each place in the margin that shows it."""
    wide = width + 2 * margin
    start = n * (height + 2 * margin) * wide * channels
    row, column = pixel // width, pixel % width
    at = start + ((row + margin) * wide + column + margin)[:, None] * channels + channel[None, :]
    total = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    if margin > 0:
        for places in range(1, 9):  # one along each axis, but not the pixel's own along both
            y, has_y = _mirrored(row, height, places // 3, margin)
            x, has_x = _mirrored(column, width, places % 3, margin)
            at = start + (y * wide + x)[:, None] * channels + channel[None, :]
            total += tl.load(gradient + at, mask=inside & (has_y & has_x)[:, None], other=0.0).to(tl.float32)
    return total


@triton.jit
def _mirrored(at, length, edge, margin: tl.constexpr):
    """Where the margin mirrors a pixel along one axis, and whether it does: 0, the pixel itself; 1 and 2, each edge."""
    last = length - 1
    first = (edge == 1) & (at >= 1) & (at <= margin)
    second = (edge == 2) & (at <= last - 1) & (at >= last - margin)
    place = tl.where(edge == 0, at, tl.where(edge == 1, -at, 2 * last - at)) + margin
    return place, (edge == 0) | first | second


@triton.jit(do_not_specialize=["height", "width", "tiles"])
def tile_sums(
    x, gradient, mean, scale, sums, products, height, width, channels, tiles, slope,
    margin: tl.constexpr, tile_pixels: tl.constexpr, tile_channels: tl.constexpr,
):  # fmt: skip
    """Of each tile, the sum of the gradient of what was normalised, and that of its product with it."""
    area = height * width
    n, pixel, channel, inside = _tile(area, channels, tile_pixels, tile_channels)
    known = channel < channels
    at = n * area * channels + pixel[:, None] * channels + channel[None, :]
    of = n * channels + channel
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value -= tl.load(mean + of, mask=known, other=0.0)[None, :]
    value *= tl.load(scale + of, mask=known, other=0.0)[None, :]
    found = _gathered(gradient, n, pixel, channel, inside, height, width, channels, margin)
    found = tl.where(value <= 0, found * slope, found)
    into = (n * tiles + tl.program_id(0)) * channels + channel
    tl.store(sums + into, tl.sum(found, axis=0), mask=known)
    tl.store(products + into, tl.sum(tl.where(inside, found * value, 0.0), axis=0), mask=known)


@triton.jit(do_not_specialize=["area", "tiles"])
def whole_sums(
    sums,
    products,
    sum_out,
    product_out,
    area,
    channels,
    tiles,
    tiles_at_once: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """The means over a picture of the two sums of its tiles, (N, C) each."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = part * tile_channels + tl.arange(0, tile_channels)
    known = (channel < channels)[None, :]
    first_total = tl.zeros((tile_channels,), tl.float32)
    second_total = tl.zeros((tile_channels,), tl.float32)
    for first in range(0, tiles, tiles_at_once):
        tile = first + tl.arange(0, tiles_at_once)
        inside = (tile < tiles)[:, None] & known
        at = (n * tiles + tile[:, None]) * channels + channel[None, :]
        first_total += tl.sum(tl.load(sums + at, mask=inside, other=0.0), axis=0)
        second_total += tl.sum(tl.load(products + at, mask=inside, other=0.0), axis=0)
    into = n * channels + channel
    tl.store(sum_out + into, first_total / area, mask=channel < channels)
    tl.store(product_out + into, second_total / area, mask=channel < channels)


@triton.jit(do_not_specialize=["height", "width"])
def gradients(
    x, gradient, out, mean, scale, gradient_mean, product_mean, height, width, channels, slope,
    margin: tl.constexpr, normalises: tl.constexpr, activates: tl.constexpr,
    tile_pixels: tl.constexpr, tile_channels: tl.constexpr,
):  # fmt: skip
    """The gradient of the input of ``finished``, which is read where it is normalised or activated."""
    area = height * width
    n, pixel, channel, inside = _tile(area, channels, tile_pixels, tile_channels)
    known = channel < channels
    at = n * area * channels + pixel[:, None] * channels + channel[None, :]
    of = n * channels + channel
    found = _gathered(gradient, n, pixel, channel, inside, height, width, channels, margin)
    if normalises or activates:
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if normalises:
        scales = tl.load(scale + of, mask=known, other=0.0)[None, :]
        value = (value - tl.load(mean + of, mask=known, other=0.0)[None, :]) * scales
    if activates:
        found = tl.where(value <= 0, found * slope, found)
    if normalises:
        found -= tl.load(gradient_mean + of, mask=known, other=0.0)[None, :]
        found -= value * tl.load(product_mean + of, mask=known, other=0.0)[None, :]
        found *= scales
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside)
