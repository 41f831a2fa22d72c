"""How much work a picture's file is: refused before it begins, or ended when it has taken too long.

Pixels don't tell. A decoder goes over the whole picture once for each scan of a progressive JPEG, however few bytes the
scan has, and file formats allow millions of parts without content.
"""

import io
import struct
import time

from models.errors import PictureRejected
from models.pictures import jpeg

MAX_SCANS = 32  # of a JPEG; encoders make 3 to 14
MAX_SEGMENTS = 5_000  # of a JPEG before its first scan; cameras write dozens
MAX_CHUNKS = 40_000  # of a PNG; libpng writes one for every 8 KiB
DECODING_S = 10.0  # CPU time of one picture; 50 megapixels take about 1 s

_PNG_HEAD = 8  # bytes before the first chunk
_FILL = b"\xff" * 1_000  # before a segment of a JPEG, where any number is allowed


class TimedFile(io.BytesIO):
    """A file in memory that ends the work of the thread that reads it once that has taken ``DECODING_S`` of CPU time.

    Pillow's own loops and most decoders read bit by bit. Those that take a file at once, for WebP and AVIF, are bounded
    by its pixels.

    Raises:
        PictureRejected: from :meth:`read`.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._ends_at = time.thread_time() + DECODING_S
        self._may_end_at = time.monotonic() + DECODING_S

    def read(self, size: int | None = -1, /) -> bytes:
        # It can't have had more CPU time than time has passed, and that costs no system call to know.
        if time.monotonic() > self._may_end_at and time.thread_time() > self._ends_at:
            raise PictureRejected(f"takes more than {DECODING_S:g} s to read, as no ordinary picture does")
        return super().read(size)


def check_work(data: bytes) -> None:
    """Refuse a file that would take a decoder long for what it shows.

    Raises:
        PictureRejected
    """
    if data.startswith(jpeg.MAGIC):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        _check_png(data)


def _check_jpeg(data: bytes) -> None:
    end = len(jpeg.MAGIC) - 1
    count = 0
    parts = jpeg.segments(data)
    while not (too_many := count > MAX_SEGMENTS or data.startswith(_FILL, end)):  # looked at before it is gone over
        segment = next(parts, None)
        if segment is None:
            break
        count, end = count + 1, segment.end
        if segment.marker == jpeg.START_OF_SCAN:
            break
    if too_many:
        raise PictureRejected("has more parts before its first scan than any ordinary picture")
    if data.count(bytes((0xFF, jpeg.START_OF_SCAN)), end) < MAX_SCANS:  # some of which may be no markers
        return
    scans = 0
    for segment in jpeg.segments(data):
        scans += segment.marker == jpeg.START_OF_SCAN
        if scans > MAX_SCANS:
            raise PictureRejected(f"has more than {MAX_SCANS} scans; save it anew as an ordinary JPEG")


def _check_png(data: bytes) -> None:
    at = _PNG_HEAD
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return
        at += 12 + length
    raise PictureRejected(f"has more than {MAX_CHUNKS:,} chunks; save it anew as an ordinary PNG")
