"""Uploads that no picture comes of, by name. Each must get a 4xx and cost nobody else anything."""

import functools
import gzip
import io
import struct
import tarfile
import zipfile
import zlib

from PIL import Image

from tests.pictures import encoded, landscape


def png_chunk(kind: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(
    width: int,
    height: int,
    *,
    data: bytes = b"",
    extra: bytes = b"",
    depth: int = 8,
    color: int = 2,
    crc: int | None = None,
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = (
        png_chunk(b"IHDR", header, crc=crc) + extra + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", b"\0" * 10_000_000)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    return file.getvalue()


def gif_with_size(width: int, height: int) -> bytes:
    whole = bytearray(encoded(landscape().convert("P"), "GIF"))
    whole[6:10] = struct.pack("<HH", width, height)
    return bytes(whole)


def bmp_with_size(width: int, height: int) -> bytes:
    whole = bytearray(encoded(landscape(), "BMP"))
    whole[18:26] = struct.pack("<ii", width, height)
    return bytes(whole)


@functools.cache
def corpus() -> dict[str, bytes]:
    """Name → bytes of each bad upload."""
    whole = {name: encoded(landscape(), name) for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}
    bad = {
        f"{name} cut at {share} %": data[: len(data) * share // 100]
        for name, data in whole.items()
        for share in (1, 20, 60)
    }
    # (To a WebP decoder zeros are a sound picture.)
    bad |= {f"{name} of zeros after its header": whole[name][:40] + bytes(2000) for name in whole if name != "WEBP"}
    bad |= {
        "nothing": b"",
        "one byte": b"\xff",
        "text": b"Not a picture at all.\n" * 50,
        "random bytes": bytes((i * 7919 + 13) % 256 for i in range(5000)),
        "html": b"<!doctype html><html><body>Not found</body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64"/></svg>',
        "svg with an entity bomb": b'<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>',
        "pdf": b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n",
        "zip": zip_bomb(),
        "gzip": gzip.compress(b"\0" * 1_000_000),
        "tar": tar(),
        "elf program": b"\x7fELF" + bytes(200),
        "pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
        "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(200),
        "icon": encoded(landscape(32, 32), "ICO"),
        "tga": encoded(landscape(), "TGA"),
        "ppm": encoded(landscape(), "PPM"),
        "JPEG 2000": encoded(landscape(), "JPEG2000"),
        "PNG bomb of 60,000 × 60,000": png(60_000, 60_000),
        "PNG bomb that does inflate": png(8000, 8000, data=bytes(8000 * (8000 * 3 + 1))),
        "PNG of 0 × 0": png(0, 0),
        "PNG of 2 billion pixels a side": png(2**31 - 1, 2**31 - 1),
        "PNG with a wrong checksum": png(64, 64, data=bytes(64 * 193), crc=0),
        "PNG of an unknown colour type": png(64, 64, color=5),
        "PNG of 3 bits": png(64, 64, depth=3),
        "PNG without pixels": png(64, 64),
        "PNG whose text inflates to 100 MB": png(
            64, 64, extra=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))
        ),
        "GIF of 65,535 × 65,535": gif_with_size(65_535, 65_535),
        "BMP of 2 billion pixels a side": bmp_with_size(2**31 - 1, 2**31 - 1),
        "BMP of negative width": bmp_with_size(-64, 64),
        "TIFF whose directory points outside": b"II*\0" + struct.pack("<I", 0x7FFFFFF0),
        "TIFF whose directory points at itself": b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
        "1 × 1": encoded(Image.new("RGB", (1, 1))),
        "a line of 4,000 × 1": encoded(Image.new("RGB", (4000, 1))),
        "20,000 × 20": encoded(Image.new("RGB", (20_000, 20))),
    }
    return bad
