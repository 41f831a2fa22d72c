"""The picture and the video of a comparison: what its runs make of the same inputs."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app import images, video
from app.geometry import resized
from models.pictures import Picture
from models.store.film import FPS
from models.store.samples import PlacedRow

MAX_SIDE_PX = 16_000  # a little less than WebP can hold
LABEL_PX = 220  # width of the column of labels
TEXT_PX = 14

Strip = tuple[str, Picture]  # a label, and a row of a sample picture


class ComparisonSheet:
    """Collects the samples of runs, and draws them below one another.

    For each kind of output the inputs come first, and below them what each run makes of them.

    Args:
        num_runs: number of runs that will be added at most, by which the size of the sheet is limited.
    """

    def __init__(self, num_runs: int) -> None:
        self._num_runs = num_runs
        self._groups: dict[str, list[Strip]] = {}  # label of the output → inputs, and each run's outputs

    def add(self, label: str, sample: Path, rows: Sequence[PlacedRow]) -> None:
        """Add a run with its newest sample picture and the rows that are on it."""
        with Image.open(sample) as opened:
            sheet = np.asarray(opened.convert("RGB"))
        inputs = {row.label: row for row in rows if row.role == "input"}
        outputs = [row for row in rows if row.role == "output" and row.source is not None]
        max_height = MAX_SIDE_PX // (max(1, len(outputs)) * (self._num_runs + 1))
        for row in outputs:
            source = inputs[row.source or ""]
            strips = self._groups.setdefault(row.label, [(row.label, _cut(sheet, source, max_height))])
            strips.append((label, _cut(sheet, row, max_height)))

    def draw(self, media_type: str) -> bytes | None:
        """Encode the sheet; None if no run was added."""
        strips = [strip for group in self._groups.values() for strip in group]
        if not strips:
            return None
        sheet = _labelled(strips)
        if max(sheet.shape) > MAX_SIDE_PX:
            scale = MAX_SIDE_PX / max(sheet.shape)
            sheet = resized(sheet, int(sheet.shape[1] * scale), int(sheet.shape[0] * scale))
        return images.encode(sheet, media_type)


def encode_films(films: Sequence[Path]) -> bytes:
    """An MP4 of several runs' films, one above the other."""
    with contextlib.ExitStack() as opened:
        return video.encode_mp4(_stacked([opened.enter_context(Image.open(film)) for film in films]), FPS)


def _cut(sheet: Picture, row: PlacedRow, max_height: int) -> Picture:
    """A copy of a row, scaled down to ``max_height`` px if it is higher. The sheet need not be kept for it."""
    left, top, right, bottom = row.box
    strip = sheet[top:bottom, left:right]
    scale = min(1.0, max_height / strip.shape[0])
    return strip.copy() if scale == 1 else resized(strip, int(strip.shape[1] * scale), max_height)


def _labelled(strips: list[Strip]) -> Picture:
    """Strips below one another, each with its label at the left."""
    width = max(strip.shape[1] for _, strip in strips)
    font = ImageFont.load_default(TEXT_PX)
    texts = [label.replace(", ", "\n") for label, _ in strips]
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    needed = [int(measure.multiline_textbbox((6, 6), text, font=font)[3]) + 6 for text in texts]
    heights = [max(strip.shape[0], least) for (_, strip), least in zip(strips, needed, strict=True)]
    sheet = Image.new("RGB", (LABEL_PX + width, sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for text, (_, strip), height in zip(texts, strips, heights, strict=True):
        draw.multiline_text((6, top + 6), text, fill="black", font=font)
        sheet.paste(Image.fromarray(strip), (LABEL_PX, top))
        top += height
    return np.asarray(sheet)


def _stacked(films: Sequence[Image.Image]) -> Iterator[Picture]:
    """The frames of all films one above the other, for as long as the shortest film lasts."""
    width = max(film.width for film in films)
    for n in range(min(getattr(film, "n_frames", 1) for film in films)):
        for film in films:
            film.seek(n)
        yield np.concatenate([_widened(np.asarray(film.convert("RGB")), width) for film in films])


def _widened(frame: Picture, width: int) -> Picture:
    """The frame with black at its right, ``width`` px wide: runs may have pictures of different sizes."""
    widened: Picture = np.pad(frame, ((0, 0), (0, width - frame.shape[1]), (0, 0)))
    return widened
