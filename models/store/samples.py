"""A run's sample pictures: rows of cells on one sheet, and a JSON file that says what each row is. Loads no torch.

Beside ``samples/000500.png`` lies ``samples/000500.json``: the rows from top to bottom with the boxes of their cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel

from models.pictures import Picture
from models.pictures.marks import GENERATED_XMP
from models.pictures.png import encode_png
from models.store.files import replace_text, replacing

MAX_DOMAINS = 4  # of a StarGAN v2 that are shown: from each to each of more domains, a sheet would take gigabytes
KEPT_NEWEST = 20  # sample pictures
KEPT_OLDER = 100  # about so many at most, spread evenly over the run
PADDING_PX = 2  # white, around every cell

# What a row shows: pictures of the data set, what the generators make of them, another version of the row before
# (another reference, or a weaker style), or the outputs translated back.
Role = Literal["input", "output", "variant", "cycle"]
Box = tuple[int, int, int, int]  # left, top, right, bottom in px; right and bottom are outside


@dataclass(frozen=True)
class SampleRow:
    """Pictures side by side, all of one size, each made from the picture above it in the row ``source``."""

    label: str
    role: Role
    pictures: Sequence[Picture]
    source: str | None = None  # label of the row of inputs; None for that row itself
    reference: Picture | None = None  # the picture at the left whose style the others are given


class PlacedRow(BaseModel):
    """A row of a sheet that was saved."""

    label: str
    role: Role
    source: str | None = None
    cells: list[Box]
    reference: Box | None = None

    @property
    def box(self) -> Box:
        """The whole row up to its last cell, with the padding above it and at its left."""
        _, top, right, bottom = self.cells[-1]
        return 0, top - PADDING_PX, right, bottom


class SampleSheet(BaseModel):
    """What is on a sample picture."""

    rows: list[PlacedRow]


def to_drop(steps: Sequence[int], every: int) -> list[int]:
    """The steps whose sample pictures are one too many: a long run keeps the newest, and of the older every n-th.

    The n grows in powers of two, so the older ones that are kept now are among those that were kept before. What is
    kept depends on the steps alone: a run that was interrupted keeps the same, and so do all runs of a comparison.

    Args:
        steps: of the sample pictures that are there, in order.
        every: steps from one sample picture to the next.
    """
    pitch = every
    while steps and steps[-1] > KEPT_OLDER * pitch:
        pitch *= 2
    older = steps[:-KEPT_NEWEST]
    # The first at or after each multiple of the pitch, since an earlier attempt may have had another `every`.
    kept = {step // pitch: step for step in reversed(older)}
    return [step for step in older if kept[step // pitch] != step]


def save_sheet(target: Path, rows: Sequence[SampleRow]) -> None:
    """Write a sheet to ``target`` (PNG), after the JSON file that describes it.

    Rows may differ in length, since domains may differ in their number of pictures.
    """
    columns_before = 1 if any(row.reference is not None for row in rows) else 0
    height, width, _ = rows[0].pictures[0].shape
    pitch_x, pitch_y = width + PADDING_PX, height + PADDING_PX
    columns = columns_before + max(len(row.pictures) for row in rows)
    sheet = np.full((len(rows) * pitch_y + PADDING_PX, columns * pitch_x + PADDING_PX, 3), 255, np.uint8)
    placed = []
    for n, row in enumerate(rows):
        top = n * pitch_y + PADDING_PX

        def place(picture: Picture, column: int, top: int = top) -> Box:
            left = column * pitch_x + PADDING_PX
            sheet[top : top + height, left : left + width] = picture
            return left, top, left + width, top + height

        placed.append(
            PlacedRow(
                label=row.label,
                role=row.role,
                source=row.source,
                cells=[place(picture, columns_before + column) for column, picture in enumerate(row.pictures)],
                reference=None if row.reference is None else place(row.reference, 0),
            )
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_text(rows_path(target), SampleSheet(rows=placed).model_dump_json())
    with replacing(target) as part:
        part.write_bytes(encode_png(sheet, xmp=GENERATED_XMP.decode()))


def read_rows(target: Path) -> list[PlacedRow]:
    """The rows of the sheet at ``target``.

    Raises:
        FileNotFoundError: nothing describes it; it was saved by an earlier version.
        pydantic.ValidationError: its description is damaged.
    """
    return SampleSheet.model_validate_json(rows_path(target).read_bytes()).rows


def rows_path(target: Path) -> Path:
    """The JSON file that describes the sheet at ``target``."""
    return target.with_suffix(".json")
