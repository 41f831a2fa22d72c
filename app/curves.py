"""Draws the losses of a run.

With Pillow, which is loaded anyway: matplotlib would take more time and memory than all other work of the API.
"""

import io
import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

from models.store.metrics import Record

POINTS = 600  # records that a plot is drawn of; more would not be seen
SMOOTHING = 0.9

WIDTH_PX, HEIGHT_PX = 1000, 700
FINE = 2  # drawn so many times larger, and reduced: lines without steps
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 70, 985, 40, 655
GAP_PX = 45  # between the two panels
LEGEND_PX = 135  # width of an entry
TEXT_PX = 12
FAINT = 0.45  # share of its colour that a raw value keeps; the rest is white

Color = tuple[int, int, int]

BLACK, GREY, LIGHT = (40, 40, 40), (150, 150, 150), (228, 228, 228)
# "Tableau 10": told apart by most people, in this order.
COLORS: tuple[Color, ...] = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (127, 127, 127),
    (188, 189, 34),
    (23, 190, 207),
)


def draw(records: Sequence[Record], title: str) -> bytes:
    """A PNG of every loss over the steps: raw values faint, smoothed ones strong; the generators' losses on top."""
    names = sorted({name for record in records for name in record if name not in ("step", "seconds")})
    sheet = _Sheet()
    sheet.write(title, WIDTH_PX / 2, 10, anchor="mt", size_px=16)
    height = (BOTTOM_PX - TOP_PX - GAP_PX) / 2
    for label, group, top in zip(
        ("generators", "discriminators"), by_side(names), (TOP_PX, TOP_PX + height + GAP_PX), strict=True
    ):
        curves = {name: [(record["step"], record[name]) for record in records if name in record] for name in group}
        _draw_panel(sheet, label, curves, (records[0]["step"], records[-1]["step"]), (top, top + height))
    sheet.write("step", (LEFT_PX + RIGHT_PX) / 2, HEIGHT_PX - 8, anchor="mb")
    return sheet.png()


def by_side(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names of the generators' losses and of the discriminators' losses, of a run of either family."""
    sides: tuple[list[str], list[str]] = ([], [])
    for name in names:
        sides[name.startswith(("d_", "D_"))].append(name)
    return sides


class _Sheet:
    """A white picture to draw on, with coordinates in its pixels."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH_PX * FINE, HEIGHT_PX * FINE), "white")
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[tuple[float, float]], color: Color, width_px: float) -> None:
        scaled = [(x * FINE, y * FINE) for x, y in points]
        self._draw.line(scaled, fill=color, width=round(width_px * FINE), joint="curve" if width_px > 1 else None)

    def write(self, text: str, x: float, y: float, *, anchor: str, size_px: int = TEXT_PX) -> None:
        font = ImageFont.load_default(size_px * FINE)
        self._draw.text((x * FINE, y * FINE), text, fill=BLACK, font=font, anchor=anchor)

    def png(self) -> bytes:
        file = io.BytesIO()
        self._image.reduce(FINE).save(file, "PNG")
        return file.getvalue()


def _draw_panel(
    sheet: _Sheet,
    label: str,
    curves: dict[str, list[tuple[float, float]]],
    steps: tuple[float, float],
    place: tuple[float, float],
) -> None:
    """Axes with a grid, and the curves in them.

    Args:
        curves: name → (step, value).
        place: top and bottom.
    """
    top, bottom = place
    values = [value for curve in curves.values() for _, value in curve]
    lowest, highest = _padded(min(values, default=0.0), max(values, default=1.0))
    first, last = _padded(*steps)

    def at(step: float, value: float) -> tuple[float, float]:
        x = LEFT_PX + (step - first) / (last - first) * (RIGHT_PX - LEFT_PX)
        return x, bottom - (value - lowest) / (highest - lowest) * (bottom - top)

    for value in ticks(lowest, highest, 5):
        _, y = at(first, value)
        sheet.line([(LEFT_PX, y), (RIGHT_PX, y)], LIGHT, 1)
        sheet.write(f"{value:.4g}", LEFT_PX - 6, y, anchor="rm")
    for step in ticks(first, last, 8):
        x, _ = at(step, lowest)
        sheet.line([(x, top), (x, bottom)], LIGHT, 1)
        sheet.write(f"{step:,.0f}" if step.is_integer() else "", x, bottom + 5, anchor="mt")
    sheet.line([(LEFT_PX, top), (RIGHT_PX, top), (RIGHT_PX, bottom), (LEFT_PX, bottom), (LEFT_PX, top)], GREY, 1)
    colors = {name: COLORS[n % len(COLORS)] for n, name in enumerate(curves)}
    for name, curve in curves.items():
        sheet.line([at(*point) for point in curve], _faint(colors[name]), 1 / FINE)
    for name, curve in curves.items():
        means = smoothed([value for _, value in curve])
        sheet.line([at(step, mean) for (step, _), mean in zip(curve, means, strict=True)], colors[name], 1.5)
    sheet.write(label, LEFT_PX, top - 4, anchor="lb")
    columns = max(1, int((RIGHT_PX - LEFT_PX) // LEGEND_PX))
    for n, (name, color) in enumerate(colors.items()):
        x, y = LEFT_PX + 10 + n % columns * LEGEND_PX, top + 12 + n // columns * (TEXT_PX + 4)
        sheet.line([(x, y), (x + 14, y)], color, 2)
        sheet.write(name, x + 18, y, anchor="lm")


def _padded(low: float, high: float) -> tuple[float, float]:
    """The range with some room at both ends, and never empty."""
    room = (high - low) * 0.03 or max(abs(high) * 0.5, 0.5)
    return low - room, high + room


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    pitch = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [n * pitch for n in range(math.ceil(low / pitch), math.floor(high / pitch) + 1)]


def _faint(color: Color) -> Color:
    red, green, blue = (round(255 - FAINT * (255 - part)) for part in color)
    return red, green, blue


def smoothed(values: Sequence[float]) -> list[float]:
    """The exponential moving average of the values."""
    out: list[float] = []
    for value in values:
        out.append(SMOOTHING * out[-1] + (1 - SMOOTHING) * value if out else value)
    return out
