"""A job's result as a file of the type that its client prefers."""

import io
import zipfile
from collections.abc import Sequence

import numpy as np

from app import images, video
from models.pictures import Picture
from worker.contract import Kind, Layout

ZIP = "application/zip"
MP4 = "video/mp4"
WEBP = "image/webp"
GAP = 4  # px of white between the pictures of a grid

OFFERED: dict[str, tuple[str, ...]] = {
    "translation": images.MEDIA_TYPES,
    "grid": (*images.MEDIA_TYPES, ZIP),
    "video": (MP4, WEBP),
    "style": (),
    "dataset": (),
}


def render(result: Sequence[Picture], kind: Kind, layout: Layout | None, media_type: str) -> bytes:
    """The result of a job of this kind, (H, W, 3) uint8 RGB each, as a file of one of its ``OFFERED`` types."""
    if kind == "video" and layout is not None:
        frames = [np.concatenate(row, axis=1) for row in _rows(result, layout.sources)]
        return (video.encode_mp4 if media_type == MP4 else video.encode_webp)(frames, layout.fps)
    if kind == "grid" and layout is not None:
        if media_type == ZIP:
            return _zipped(result, layout)
        return images.encode(_grid(result, layout), media_type)
    return images.encode(result[0], media_type)


def _rows(pictures: Sequence[Picture], width: int) -> list[Sequence[Picture]]:
    return [pictures[first : first + width] for first in range(0, len(pictures), width)]


def _grid(result: Sequence[Picture], layout: Layout) -> Picture:
    """Sources on top, references at the left, and where they meet the source in the reference's style."""
    sources, references = result[: layout.sources], result[layout.sources : layout.sources + layout.references]
    rows = _rows(result[layout.sources + layout.references :], layout.sources)
    height, width, _ = sources[0].shape
    beside = [_centred(reference, height, width) for reference in references]
    corner = [np.full((height, width, 3), 255, np.uint8)] if references else []
    lines = [[*corner, *sources]]
    lines += [[*beside[n : n + 1], *row] for n, row in enumerate(rows)]
    white = 255
    framed = [[np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=white) for cell in line] for line in lines]
    whole: Picture = np.concatenate([np.concatenate(line, axis=1) for line in framed])[:-GAP, :-GAP]
    return whole


def _centred(picture: Picture, height: int, width: int) -> Picture:
    """A reference, square, in the middle of a white cell."""
    side = min(height, width)
    resized = images.resized(picture, side, side)
    cell = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    cell[top : top + side, left : left + side] = resized
    return cell


def _zipped(result: Sequence[Picture], layout: Layout) -> bytes:
    file = io.BytesIO()
    rows = _rows(result[layout.sources + layout.references :], layout.sources)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for y, row in enumerate(rows, start=1):
            for x, cell in enumerate(row, start=1):
                archive.writestr(f"source-{x}-style-{y}.png", images.encode(cell, "image/png"))
    return file.getvalue()
