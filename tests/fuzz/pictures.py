"""Pictures of every kind that is read, and the files that a fuzzer makes of them: turned bits, shuffled parts."""

import functools
import io
import itertools
import random
import re
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from models.pictures import jpeg
from tests.odd_pictures import exif, odd_pictures
from tests.pictures import encoded, landscape

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_ABSURD = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@functools.cache
def seeds() -> dict[str, bytes]:
    """Sound pictures, by name, none larger than 96 × 64."""
    picture = landscape(48, 40)
    frames = [landscape(48, 40).rotate(angle) for angle in (90, 180)]
    several = {"save_all": True, "append_images": frames}
    made = {
        "baseline.jpg": encoded(picture, "JPEG", exif=exif(5), restart_marker_blocks=2),
        "progressive.jpg": encoded(picture, "JPEG", progressive=True),
        "cmyk.jpg": encoded(picture.convert("CMYK"), "JPEG"),
        "animated.png": encoded(picture, "PNG", **several),
        "bits.png": encoded(picture.convert("1"), "PNG"),
        "palette.png": encoded(picture.quantize(8), "PNG", transparency=1),
        "lossy.webp": encoded(picture, "WEBP", exif=exif(3)),
        "animated.webp": encoded(picture, "WEBP", **several),
        "animated.gif": encoded(picture, "GIF", **several),
        "plain.bmp": encoded(picture, "BMP"),
        "palette.bmp": encoded(picture.quantize(16), "BMP"),
        "plain.avif": encoded(picture, "AVIF", exif=exif(6)),
        "pages.tif": encoded(picture, "TIFF", **several),
        "big.tif": encoded(picture, "TIFF", big_tiff=True),
        "fax.tif": encoded(picture.convert("1"), "TIFF", compression="group4"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_deflate"):
        made[f"{compression}.tif"] = encoded(picture, "TIFF", compression=compression)
    return made | odd_pictures()


def mutant(rng: random.Random) -> bytes:
    """A file that comes of a sound picture by up to three mutations."""
    data = rng.choice(list(seeds().values()))
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(_MUTATIONS)(data, rng) or data
    return _with_checksums(data) if rng.random() < 0.8 else data


def _turned_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _absurd_number(data: bytes, rng: random.Random) -> bytes:
    size = rng.choice((1, 2, 4))
    number = rng.choice(_ABSURD) & (1 << 8 * size) - 1
    at = _place(data, rng)
    return data[:at] + number.to_bytes(size, rng.choice(("big", "little"))) + data[at + size :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data)) or 1]


def _left_out(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 100)) :]


def _repeated(data: bytes, rng: random.Random) -> bytes:
    at, size = _place(data, rng), rng.choice((1, 4, 100))
    return data[:at] + data[at : at + size] * rng.choice((2, 50)) + data[at + size :]


def _zeros(data: bytes, rng: random.Random) -> bytes:
    at, size = _place(data, rng), rng.choice((4, 100))
    return data[:at] + rng.choice((b"\0", b"\xff")) * size + data[at + size :]


def _spliced(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice(list(seeds().values()))
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _shuffled_parts(data: bytes, rng: random.Random) -> bytes:
    head, parts, tail = _parts(data)
    for _ in range(rng.choice((1, 3)) if parts else 0):
        at = rng.randrange(len(parts))
        match rng.randrange(4):
            case 0:
                parts.insert(rng.randrange(len(parts)), parts.pop(at))
            case 1:
                parts.insert(at, parts[at])
            case 2 if len(parts) > 1:
                del parts[at]
            case _:
                parts[at:at] = [parts[at]] * 40
    return head + b"".join(parts) + tail


def _resized(data: bytes, rng: random.Random) -> bytes:
    """The file with another width or height in its header, where that is easily found."""
    places = {b"\x89PNG": (16, 20, ">I"), b"GIF8": (6, 8, "<H"), b"BM": (18, 22, "<i"), b"RIFF": (24, 27, "<H")}
    for magic, (first, second, form) in places.items():
        if data.startswith(magic):
            at = rng.choice((first, second))
            bits = 8 * struct.calcsize(form) - (form == "<i")
            return _packed(data, at, form, rng.choice(_ABSURD) & (1 << bits) - 1)
    frame = re.search(rb"\xff[\xc0-\xc2]", data)
    if data.startswith(jpeg.MAGIC) and frame:
        return _packed(data, frame.start() + rng.choice((5, 7)), ">H", rng.choice((0, 1, 8191, 65535)))
    return _absurd_number(data, rng)


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_turned_bits, _absurd_number, _cut, _left_out, _repeated, _zeros, _spliced, _shuffled_parts, _resized),
)


def scans(count: int, width: int, height: int) -> bytes:
    """A progressive JPEG whose pixels are gone over ``count`` times, by a few bytes each time."""
    data = encoded(Image.new("L", (width, height), 90), "JPEG", progressive=True, quality=5)
    *_, last = (one for one in jpeg.segments(data) if one.marker == jpeg.START_OF_SCAN)
    return data[:-2] + data[last.start : -2] * (count - 1) + data[-2:]


def _place(data: bytes, rng: random.Random) -> int:
    """A place in the file, in every second case among its first bytes, which decide most."""
    return rng.randrange(min(len(data), 200) if rng.random() < 0.5 else len(data))


def _packed(data: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    if at + struct.calcsize(form) <= len(changed):
        struct.pack_into(form, changed, at, value)
    return bytes(changed)


def _parts(data: bytes) -> tuple[bytes, list[bytes], bytes]:
    """What is before the chunks or segments of a file, these, and what is behind them."""
    if data.startswith(_PNG_MAGIC):
        return _chunks(data, len(_PNG_MAGIC), ">", 4)
    if data.startswith(b"RIFF"):
        return _chunks(data, 12, "<", 0)
    if data.startswith(jpeg.MAGIC):
        starts = [*(one.start for one in jpeg.segments(data)), len(data)]
        return data[:2], [data[start:end] for start, end in itertools.pairwise(starts)], b""
    size = max(1, len(data) // 8)
    return b"", [data[at : at + size] for at in range(0, len(data), size)], b""


def _chunks(data: bytes, at: int, order: str, extra: int) -> tuple[bytes, list[bytes], bytes]:
    """As :func:`_parts`.

    Args:
        order: of the bytes of their lengths.
        extra: bytes behind each.
    """
    head, parts = data[:at], []
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(f"{order}I", data, at if order == ">" else at + 4)
        end = at + 8 + length + extra + (length % 2 if order == "<" else 0)
        if end > len(data):
            break
        parts.append(data[at:end])
        at = end
    return head, parts, data[at:]


def _with_checksums(data: bytes) -> bytes:
    """The file, if it is a PNG with right checksums, so that its decoder reads on."""
    if not data.startswith(_PNG_MAGIC):
        return data
    head, parts, tail = _parts(data)
    return head + b"".join(one[:-4] + struct.pack(">I", zlib.crc32(one[4:-4])) for one in parts) + tail


def opened(data: bytes) -> Image.Image:
    """A picture that is sound, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
