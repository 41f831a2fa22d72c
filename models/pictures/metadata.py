"""Takes a picture's file apart: what its pixels need, and the little of its metadata that matters.

Decoders refuse a picture for metadata that nobody wants to see: a comment too long, a resolution that is a text. So a
decoder gets the file without them, and orientation, colour profile and range of levels are read here, where whatever is
broken counts as absent. Formats: JPEG, PNG (third edition), TIFF, and AVIF (ISO/IEC 23008-12).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.pictures import jpeg, tiff
from models.pictures.profiles import matrix_profile
from models.pictures.tiff import Directory, Levels

MAX_PROFILE_BYTES = 16 << 20  # of a colour profile once it is inflated; those of printers have about 2 MiB
MAX_ITEMS = 10_000  # of an AVIF that are looked at

_EXIF = b"Exif\0\0"

# JPEG segments that tell the encoding of colours → their least length; decoders fail at those that are shorter.
_COLOUR_SEGMENTS = {jpeg.APP0: 14, jpeg.APP14: 12}

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_STRUCTURAL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_READ = (b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_TRNS_BYTES = {0: 2, 2: 6}  # colour type → length


@dataclass(frozen=True)
class Parts:
    """A picture's file, taken apart."""

    pixels: bytes  # a file of the same format without metadata
    orientation: int = 1  # as EXIF numbers them, 1 to 8
    icc_profile: bytes | None = None  # None: there is none here; formats that are not taken apart may have one
    levels: Levels = field(default_factory=Levels)


def taken_apart(data: bytes) -> Parts:
    """Separate what a decoder needs from the rest. Never fails: what can't be understood is left to the decoder."""
    try:
        if data.startswith(jpeg.MAGIC):
            return _jpeg(data)
        if data.startswith(_PNG_MAGIC):
            return _png(data)
        if data[:4] in tiff.MAGICS:
            return _tiff(data)
        if data[4:8] == b"ftyp":
            return Parts(_avif(data))
    except (struct.error, IndexError, ValueError, OverflowError):  # cut short, or nonsense
        pass
    return Parts(data)


def exif_orientation(exif: bytes) -> int:
    """The orientation that an EXIF block asks for, 1 to 8; 1 if it asks for none that is defined."""
    try:
        return Directory(exif.removeprefix(_EXIF)).orientation
    except struct.error:
        return 1


def _jpeg(data: bytes) -> Parts:
    kept = [data[:2]]
    orientation = 1
    profile: dict[int, bytes] = {}  # number → part
    end = 2
    for marker, start, end, body in jpeg.segments(data):
        if marker == jpeg.APP1 and body.startswith(_EXIF) and orientation == 1:
            orientation = exif_orientation(body)
        elif marker == jpeg.APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        is_metadata = jpeg.APP0 <= marker <= jpeg.APP15 or marker == jpeg.COMMENT
        if not is_metadata or len(body) >= _COLOUR_SEGMENTS.get(marker, len(body) + 1):
            kept.append(data[start:end])
        if marker == jpeg.START_OF_SCAN:
            break
    kept.append(data[end:])
    icc_profile = b"".join(profile[number] for number in sorted(profile)) or None
    return Parts(b"".join(kept), orientation, icc_profile)


def _png(data: bytes) -> Parts:
    kept = [_PNG_MAGIC]
    found: dict[bytes, bytes] = {}  # the first chunk of each kind
    at = len(_PNG_MAGIC)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in _PNG_STRUCTURAL and (kind != b"tRNS" or _is_sound_trns(data[at:end], data[25])):
            kept.append(data[at:end])
        elif kind in _PNG_READ:
            found.setdefault(kind, data[at + 8 : end - 4])
        if kind == b"IEND" or end > len(data):
            break
        at = end
    profile = _inflated(found[b"iCCP"].partition(b"\0")[2][1:]) if b"iCCP" in found else None
    if profile is None and b"sRGB" not in found:
        profile = _png_profile(found)
    return Parts(b"".join(kept), exif_orientation(found.get(b"eXIf", b"")), profile)


def _png_profile(found: dict[bytes, bytes]) -> bytes | None:
    """The profile that gamma and chromaticities stand for. Without a gamma, viewers ignore the latter."""
    gamma, chromaticities = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if len(gamma) != 4:
        return None
    where = [n / 100_000 for n in struct.unpack(">8I", chromaticities)] if len(chromaticities) == 32 else None
    return matrix_profile(struct.unpack(">I", gamma)[0] / 100_000, tuple(where) if where else None)


def _is_sound_trns(chunk: bytes, color_type: int) -> bool:
    (checksum,) = struct.unpack(">I", chunk[-4:])
    return zlib.crc32(chunk[4:-4]) == checksum and len(chunk) - 12 == _TRNS_BYTES.get(color_type, len(chunk) - 12)


def _inflated(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, MAX_PROFILE_BYTES)
    except zlib.error:
        return None


def _tiff(data: bytes) -> Parts:
    directory = Directory(data)
    profile = directory.block(tiff.ICC_PROFILE)
    pixels = directory.in_single_precision() or directory.alone()
    return Parts(pixels, directory.orientation, (profile or b"")[:MAX_PROFILE_BYTES] or None, directory.levels)


def _avif(data: bytes) -> bytes:
    """The same file with its EXIF item renamed. AVIF has a property of its own for the orientation."""
    pixels = bytearray(data)
    for kind, start, end in _boxes(data):
        if kind == b"meta":
            at = data.find(b"infe", start, end)
            for _ in range(MAX_ITEMS):
                if at < 0:
                    break
                item = data.find(b"Exif\0", at, min(end, at + 32))
                if item >= 0:
                    pixels[item : item + 4] = b"skip"
                at = data.find(b"infe", at + 4, end)
    return bytes(pixels)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The outermost boxes: their type, start and end."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8:  # to the end of the file, or of 64 bits: the pixels
            return
        yield kind, at, at + length
        at += length
