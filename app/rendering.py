"""Make a file of a job's result, in the media type that the client prefers."""

import io
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from app import images, video
from app.credentials import Sign, unsigned
from app.geometry import delivered, resized
from models.pictures import Picture
from worker.contract import Arrangement, Delivery, Kind
from worker.errors import RecordUnreadable
from worker.file_bytes import unpack_file

ZIP = "application/zip"
MP4 = "video/mp4"
WEBP = "image/webp"
GAP = 4  # px, white, between the pictures of a grid

OFFERED: dict[str, tuple[str, ...]] = {
    "translation": images.MEDIA_TYPES,
    "grid": (*images.MEDIA_TYPES, ZIP),
    "video": (MP4, WEBP),
    "clip": (MP4,),
    "style": (),
    "dataset": (),
    "model": (),
    "fetch": (),
}


class RecentVideos:
    """The videos that were fetched last. A player fetches one in parts, each by a request of its own.

    Args:
        max_bytes: most bytes of all of them together.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self._videos: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by job and media type; latest last

    def get(self, job_id: str, media_type: str) -> bytes | None:
        """The video of a job, if it is still here."""
        video = self._videos.get((job_id, media_type))
        if video is not None:
            self._videos.move_to_end((job_id, media_type))
        return video

    def keep(self, job_id: str, media_type: str, video: bytes) -> None:
        """Keep a video until others need the room."""
        self._videos[job_id, media_type] = video
        while sum(map(len, self._videos.values())) > self._max_bytes:
            self._videos.popitem(last=False)


def render(
    result: Sequence[Picture],
    kind: Kind,
    arrangement: Arrangement | None,
    delivery: Delivery | None,
    media_type: str,
    sign: Sign = unsigned,
) -> bytes:
    """Encode the result of a job.

    Args:
        result: (H, W, 3) uint8 RGB each.
        arrangement: of a grid or a video.
        delivery: how each generated picture, and each source, becomes what the client asked for.
        media_type: one of those ``OFFERED`` for this kind.
        sign: what gives the file its credentials; of a ZIP, each picture in it.

    Raises:
        RecordUnreadable: the result, which lay in Redis, is not one of this kind and arrangement.
    """
    try:
        if kind == "grid" and arrangement is not None and media_type == ZIP:
            return _zipped(_delivered(result, arrangement, delivery), arrangement, sign)
        return sign(_encoded(result, kind, arrangement, delivery, media_type), media_type)
    except (LookupError, ValueError, struct.error) as error:  # they are not the pictures that the record says
        raise RecordUnreadable(
            "The result of this job is not what its record says. Send the original again."
        ) from error


def _encoded(
    result: Sequence[Picture],
    kind: Kind,
    arrangement: Arrangement | None,
    delivery: Delivery | None,
    media_type: str,
) -> bytes:
    if kind == "clip":
        return video.marked(unpack_file(result[0]))
    result = _delivered(result, arrangement, delivery)
    if kind == "video" and arrangement is not None:
        frames = [_even(np.concatenate(row, axis=1)) for row in _rows(result, arrangement.sources)]
        return (video.encode_mp4 if media_type == MP4 else video.encode_webp)(frames, arrangement.fps)
    if kind == "grid" and arrangement is not None:
        return images.encode(_grid(result, arrangement), media_type)
    return images.encode(result[0], media_type)


def _delivered(result: Sequence[Picture], arrangement: Arrangement | None, delivery: Delivery | None) -> list[Picture]:
    """The pictures as the client asked for them; references are shown as they are."""
    references = range(arrangement.sources, arrangement.sources + arrangement.references) if arrangement else range(0)
    return [picture if n in references else delivered(picture, delivery) for n, picture in enumerate(result)]


def _even(frame: Picture) -> Picture:
    """The frame without the last row and column where their number is odd: H.264 halves the colours."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def _rows(pictures: Sequence[Picture], width: int) -> list[Sequence[Picture]]:
    return [pictures[first : first + width] for first in range(0, len(pictures), width)]


def _grid(result: Sequence[Picture], arrangement: Arrangement) -> Picture:
    """Draw sources on top, references at the left, and each source in each style where the two meet."""
    inputs = arrangement.sources + arrangement.references
    sources, references = result[: arrangement.sources], result[arrangement.sources : inputs]
    rows = _rows(result[inputs:], arrangement.sources)
    height, width, _ = sources[0].shape
    references_at_left = [_centred(reference, height, width) for reference in references]
    corner = [np.full((height, width, 3), 255, np.uint8)] if references else []
    lines = [[*corner, *sources]]
    lines += [[*references_at_left[n : n + 1], *row] for n, row in enumerate(rows)]
    white = 255
    framed = [[np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=white) for cell in line] for line in lines]
    whole: Picture = np.concatenate([np.concatenate(line, axis=1) for line in framed])[:-GAP, :-GAP]
    return whole


def _centred(picture: Picture, height: int, width: int) -> Picture:
    """Centre a square reference in a white cell of this size."""
    side = min(height, width)
    fitted = resized(picture, side, side)
    cell = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    cell[top : top + side, left : left + side] = fitted
    return cell


def _zipped(result: Sequence[Picture], arrangement: Arrangement, sign: Sign) -> bytes:
    file = io.BytesIO()
    rows = _rows(result[arrangement.sources + arrangement.references :], arrangement.sources)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for y, row in enumerate(rows, start=1):
            for x, cell in enumerate(row):
                member = zipfile.ZipInfo(f"source-{x + 1}-style-{y}.png")  # of no date: equal results are equal files
                member.external_attr = 0o644 << 16
                archive.writestr(member, sign(images.encode(cell, "image/png"), "image/png", source=x))
    return file.getvalue()
