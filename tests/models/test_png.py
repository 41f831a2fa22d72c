"""PNGs of our own encoder, as other programs read them."""

import io
import struct
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from models.pictures.png import MAGIC, encode_png
from tests.pictures import landscape

NOISE = np.random.default_rng(0).integers(0, 256, (300, 401, 3), np.uint8)  # larger than a block
PHOTO = np.asarray(landscape(97, 61))
PICTURES = {
    "noise": NOISE,
    "gradient": PHOTO,
    "one pixel": NOISE[:1, :1],
    "one row": NOISE[:1],
    "one column": NOISE[:, :1],
    "a row larger than a block": NOISE.reshape(2, -1, 3),
    "a part of a picture, in no one piece": NOISE[10:200, 20:300],
    "upside down": PHOTO[::-1],
}


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each chunk, once its checksum was compared."""
    found, at = [], len(MAGIC)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        found.append((kind, body))
        at += 12 + length
    assert at == len(data)
    return found


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_every_reader_gets_back_every_pixel(picture):
    data = encode_png(picture)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"
        assert (np.asarray(image) == picture).all()
    with av.open(io.BytesIO(data), format="png_pipe") as file:  # FFmpeg has a decoder of its own
        frame = next(file.decode(video=0))
        assert (frame.to_ndarray(format="rgb24") == picture).all()


def test_chunks_are_sound_and_in_order():
    data = encode_png(PHOTO, xmp="<x:xmpmeta>é</x:xmpmeta>")
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    (_, header), (_, text), (_, pixels), (_, end) = found = chunks(data)
    assert [kind for kind, _ in found] == [b"IHDR", b"iTXt", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", header) == (97, 61, 8, 2, 0, 0, 0)
    assert text == b"XML:com.adobe.xmp\0\0\0\0\0" + "<x:xmpmeta>é</x:xmpmeta>".encode()
    assert len(zlib.decompress(pixels)) == 61 * (1 + 3 * 97)  # checks the Adler-32, too
    assert end == b""


def test_a_photo_takes_no_more_room_than_by_libpng():
    x, y = np.meshgrid(np.linspace(0, 9, 320), np.linspace(0, 7, 240))
    smooth = 128 + 60 * np.sin(x) * np.cos(y) + np.random.default_rng(1).normal(0, 3, (240, 320))
    picture = np.clip(np.stack([smooth, smooth * 0.8, smooth * 0.9 + 10], axis=-1), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    assert len(encode_png(picture)) < 1.05 * len(file.getvalue())
