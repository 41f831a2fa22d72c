"""Sound pictures that careless readers show wrongly: turned, wide in colour, transparent, deep, grey, broken beside."""

import io
import struct

import numpy as np
from PIL import Image

from models.pictures.profiles import matrix_profile
from tests.pictures import encoded, landscape

# Display P3 with a gamma of 2.2: x and y of white, red, green and blue.
P3 = matrix_profile(1 / 2.2, (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060))


def exif(orientation: int) -> Image.Exif:
    """EXIF as a camera writes it, with tags of many types."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0132] = "Maker", "Model", "2020:01:01 00:00:00"
    tags[0x0112] = orientation
    tags[0x011A], tags[0x011B], tags[0x0128] = 72.0, 72.0, 2
    shot = tags.get_ifd(0x8769)
    shot[0x829A], shot[0x9003], shot[0xA002], shot[0x927C] = 0.01, "2020:01:01 00:00:00", 96, b"maker's note"
    place = tags.get_ifd(0x8825)
    place[1], place[2] = "N", (1.0, 2.0, 3.0)
    return tags


def tiff(levels: np.ndarray, **tags: int) -> bytes:
    """An uncompressed grey TIFF of one strip, whose sample format is the array's type.

    Args:
        tags: further tags by name (``photometric``, ``lowest``, ``highest``), as numbers.
    """
    data = levels.astype(levels.dtype.newbyteorder("<")).tobytes()
    height, width = levels.shape
    kinds = {"u": 1, "i": 2, "f": 3}
    shorts = {258: 8 * levels.itemsize, 259: 1, 262: tags.get("photometric", 1), 277: 1, 339: kinds[levels.dtype.kind]}
    shorts |= {tag: tags[name] for name, tag in (("lowest", 280), ("highest", 281)) if name in tags}
    longs = {256: width, 257: height, 273: 8, 278: height, 279: len(data)}
    entries = [(tag, struct.pack("<HHIHH", tag, 3, 1, value, 0)) for tag, value in shorts.items()]
    entries += [(tag, struct.pack("<HHII", tag, 4, 1, value)) for tag, value in longs.items()]
    directory = struct.pack("<H", len(entries)) + b"".join(entry for _, entry in sorted(entries)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def odd_pictures() -> dict[str, bytes]:
    """Twelve pictures, by file name, none larger than 96 × 64."""
    ramp = np.linspace(0, 1, 64 * 48).reshape(48, 64)
    half = landscape().convert("RGBA")
    half.putalpha(128)
    palette = landscape().quantize(16)
    whole = encoded(landscape(), "JPEG")
    flat = io.BytesIO()
    Image.new("CMYK", (48, 32), (0, 200, 100, 20)).save(flat, "TIFF")
    return {
        "01-turned.jpg": encoded(landscape(), "JPEG", exif=exif(6)),
        "02-mirrored.png": encoded(landscape(), exif=exif(4)),
        "03-p3.png": encoded(Image.new("RGB", (40, 40), (200, 60, 60)), icc_profile=P3),
        "04-alpha.png": encoded(half),
        "05-deep-grey.png": encoded(Image.fromarray((ramp * 65535).astype(np.uint16))),
        "06-grey.jpg": encoded(landscape().convert("L"), "JPEG"),
        "07-twelve-bits.tif": tiff((ramp * 4095).astype(np.uint16)),
        "08-floats.tiff": tiff((ramp * 300 - 20).astype(np.float32)),
        "09-palette.gif": encoded(palette, "GIF", transparency=3),
        "10-cmyk.tif": flat.getvalue(),
        "11-endless.jfif": whole[:-2],
        "12-lossless.webp": encoded(landscape(), "WEBP", lossless=True, exif=exif(8)),
    }
