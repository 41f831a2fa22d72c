"""Small files that would keep a decoder busy for long are refused before it begins, or ended."""

import io
import struct
import zlib

import pytest

from models.errors import PictureRejected
from models.pictures import jpeg, work
from models.pictures.decoding import EncodedPicture
from tests.pictures import encoded, landscape

MANY = 100_000


def progressive(more_scans: int, **options: object) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    file = io.BytesIO()
    landscape(64, 48).save(file, "JPEG", progressive=True, **options)
    data = file.getvalue()
    last = [segment for segment in jpeg.segments(data) if segment.marker == jpeg.START_OF_SCAN][-1]
    return data[:-2] + data[last.start : -2] * more_scans + data[-2:]


def with_segments(segment: bytes) -> bytes:
    data = encoded(landscape(64, 48), "JPEG")
    return data[:2] + segment * MANY + data[2:]


def with_chunks(kind: bytes) -> bytes:
    data = encoded(landscape(64, 48))
    chunk = struct.pack(">I4sI", 0, kind, zlib.crc32(kind))
    head = 33  # magic and IHDR
    return data[:head] + chunk * MANY + data[head:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(progressive(40), id="scans"),
        pytest.param(with_segments(b"\xff\xe5\x00\x02"), id="metadata"),
        pytest.param(with_segments(b"\xff\xdb\x00\x02"), id="tables"),
        pytest.param(with_segments(b"\xff"), id="fill"),
        pytest.param(with_chunks(b"tEXt"), id="text"),
        pytest.param(with_chunks(b"IDAT"), id="pixels"),
        pytest.param(with_chunks(b"PLTE"), id="palettes"),
    ],
)
def test_a_file_of_too_many_parts_is_refused_from_its_header(data):
    with pytest.raises(PictureRejected):
        EncodedPicture(data)


@pytest.mark.parametrize("options", [{}, {"exif": b"Exif\0\0" + b"\xff\xda" * 1000}, {"comment": b"\xff\xda" * 1000}])
def test_scans_are_told_from_bytes_that_look_like_them(options):
    assert EncodedPicture(progressive(4, **options)).shown().image.size == (64, 48)


def test_decoding_ends_when_it_has_taken_too_long(monkeypatch):
    picture = EncodedPicture(encoded(landscape(64, 48)))
    monkeypatch.setattr(work, "DECODING_S", 0.0)
    with pytest.raises(PictureRejected, match="takes more than"):
        EncodedPicture(encoded(landscape(64, 48))).shown()
    assert picture.shown().image.size == (64, 48)  # its time was another
