"""The segments of a JPEG (ITU-T T.81, annex B)."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\xff\xd8\xff"
APP0, APP1, APP2, APP14, APP15, COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
START_OF_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that start a frame
_COEFFICIENTS = 64  # of a block
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


class Segment(NamedTuple):
    """A segment before the picture's end."""

    marker: int
    start: int  # of the marker
    end: int
    body: bytes  # without marker and length


def segments(data: bytes) -> Iterator[Segment]:
    """The segments in order, with those between scans; ends where it isn't clear where the next one begins."""
    at = 2
    while at + 4 <= len(data):
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 4 > len(data):
            return
        lead, marker, length = struct.unpack_from(">BBH", data, at)
        end = at + 2 + length
        if lead != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2 or end > len(data):
            return
        yield Segment(marker, at, end, data[at + 4 : end])
        at = end
        if marker == START_OF_SCAN:
            following = _AFTER_SCAN.search(data, at)
            if following is None:
                return
            at = following.start()


def has_all_scans(data: bytes) -> bool:
    """Whether the file has scans for all bits of all coefficients of all components, be they cut short or not."""
    missing: set[tuple[int, int]] = set()  # component and coefficient
    for segment in segments(data):
        body = segment.body
        if segment.marker in _FRAMES:
            missing = {(body[at], k) for at in range(6, len(body) - 2, 3) for k in range(_COEFFICIENTS)}
        elif segment.marker == START_OF_SCAN:
            components = body[1 : 1 + 2 * body[0] : 2]
            first, last, approximation = body[-3:]
            if approximation & 0xF == 0:  # no lower bits follow
                missing -= {(component, k) for component in components for k in range(first, last + 1)}
    return not missing
