"""From a picture's bytes to RGB as a viewer shows it: the one reader of all pictures that come from outside."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.errors import PictureRejected
from models.pictures import jpeg, tiff
from models.pictures.colours import to_srgb
from models.pictures.levels import is_deep, to_eight_bits
from models.pictures.metadata import exif_orientation, taken_apart
from models.pictures.work import TimedFile, check_work

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

# Pillow's own limit is a process-wide global that mostly warns; ours is an argument.
Image.MAX_IMAGE_PIXELS = None

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_MAGICS = {"JPEG": (jpeg.MAGIC,), "PNG": (b"\x89PNG",), "TIFF": tiff.MAGICS, "GIF": (b"GIF8",)}

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED = (5, 6, 7, 8)  # orientations that swap width and height
_PNG_BITS_AT = 24  # offset of the bits per sample
_END_OF_JPEG = b"\xff\xd9"
# Noise between all restart markers. One begins with a bit of 0, the other of 1; and whichever marker a decoder waits
# for, in one of them it comes before those that would make the decoder give the interval up.
_NOISES = [
    b"".join(noise * 8 + bytes((0xFF, 0xD0 + n % 8)) for n in range(first, first + 16))
    for first, noise in ((0, b"\x5a\xc3\x96\x2d\xb4\x69\x1e\xd2"), (4, b"\xa5\x3c\x69\xd2\x4b\x96\xe1\x2d"))
]


@dataclass(frozen=True)
class Bounds:
    """The pictures that are accepted."""

    max_pixels: int = 200_000_000  # an RGB picture of that size takes 600 MB
    min_side: int = 1  # px
    max_side: int | None = None  # px


class Shown(NamedTuple):
    """A picture as a viewer shows it."""

    image: Image.Image  # mode RGB: upright, in sRGB, on white
    note: str | None  # what the person who sent it should know


class EncodedPicture:
    """The file of a picture, of which only the header has been read.

    Metadata can't make a picture unreadable: what is broken among it counts as absent.

    Args:
        data: the file.

    Raises:
        PictureRejected: it is not a picture in one of the ``FORMATS``, is damaged, out of bounds, or too much work.
    """

    def __init__(self, data: bytes, bounds: Bounds = Bounds()) -> None:
        if not data:
            raise PictureRejected("is empty")
        check_work(data)
        self._parts = taken_apart(data)
        with _readable(data):
            self._image = Image.open(TimedFile(self._parts.pixels), formats=FORMATS)
        _check_bounds(self._image.size, bounds)
        self.format = str(self._image.format)
        self._orientation = self._parts.orientation
        if exif := self._image.info.get("exif"):  # of formats that are not taken apart
            self._orientation = exif_orientation(exif)
        self._icc_profile = self._parts.icc_profile or self._image.info.get("icc_profile")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown, in px."""
        return self._turned_size(self._image.size)

    def _turned_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[::-1] if self._orientation in _SWAPPED else size

    def shown(self, *, at_least: tuple[int, int] | None = None) -> Shown:
        """Decode it to RGB: upright, in sRGB, transparency on white, levels in 8 bits, the first frame of several.

        Args:
            at_least: width and height as shown that are needed. A JPEG may then come at 1/2, 1/4 or 1/8 of its size,
                but not below these, which is much faster.

        Raises:
            PictureRejected: its pixels are damaged or missing.
        """
        with _readable(self._parts.pixels):
            if at_least is not None:
                self._image.draft(None, self._turned_size(at_least))
            image = self._loaded()
            if self.format == "PNG":
                _scale_transparency(image, bits=self._parts.pixels[_PNG_BITS_AT])
            note = None
            if is_deep(image, self._parts.levels):
                image, note = self._in_eight_bits(image)
            image = to_srgb(image, self._icc_profile)
            if self._orientation in _TRANSPOSES:
                image = image.transpose(_TRANSPOSES[self._orientation])
        return Shown(image, note)

    def _loaded(self) -> Image.Image:
        try:
            self._image.load()
        except OSError as error:
            if self.format != "JPEG":
                raise
            return self._without_end(error)
        return self._image

    def _without_end(self, error: OSError) -> Image.Image:
        """A JPEG that lacks only its end marker: nothing that follows the file can change its pixels then."""
        data = self._parts.pixels.rstrip(b"\xff")
        ended, *extended = (
            Image.open(TimedFile(data + rest + _END_OF_JPEG), formats=["JPEG"]) for rest in (b"", *_NOISES)
        )
        if not jpeg.has_all_scans(data) or any(other.tobytes() != ended.tobytes() for other in extended):
            raise error
        return ended

    def _in_eight_bits(self, image: Image.Image) -> tuple[Image.Image, str | None]:
        shown, note = to_eight_bits(image, self._parts.levels)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):  # the level that stands for transparency
            shown.paste(255, mask=Image.fromarray(np.asarray(image) == transparent))
        return shown, note


def read_picture(path: Path, bounds: Bounds = Bounds()) -> Shown:
    """Read a picture's file and decode it as :meth:`EncodedPicture.shown` does.

    Raises:
        PictureRejected: it is not a picture, is damaged, or out of bounds.
        OSError: it can't be read.
    """
    return EncodedPicture(path.read_bytes(), bounds).shown()


def check_header(path: Path) -> None:
    """Check quickly that a file looks like a picture; its pixels are not read.

    Raises:
        PictureRejected: it does not.
        OSError: it can't be read.
    """
    try:
        with Image.open(path, formats=FORMATS):
            pass
    except OSError as error:
        if error.errno is not None:  # of the file system
            raise
        EncodedPicture(path.read_bytes())
    except Exception:  # it may be of metadata, of which the one reader takes no notice
        EncodedPicture(path.read_bytes())


def _scale_transparency(image: Image.Image, bits: int) -> None:
    """Bring the transparent colour of a PNG to the 8 bits of its pixels, as which Pillow gives other depths."""
    transparent = image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // (2**bits - 1)
    elif image.mode == "RGB" and bits == 16 and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in transparent)


def _check_bounds(size: tuple[int, int], bounds: Bounds) -> None:
    width, height = size
    if width * height > bounds.max_pixels:
        raise PictureRejected(f"has {width} × {height} pixels; at most {bounds.max_pixels:,} pixels are accepted")
    if bounds.max_side is not None and not bounds.min_side <= min(size) <= max(size) <= bounds.max_side:
        sides = f"{bounds.min_side} to {bounds.max_side}"
        raise PictureRejected(f"is {width} × {height} px; sides of {sides} px are accepted")
    if min(size) < bounds.min_side:
        raise PictureRejected(f"is {width} × {height} px; a side needs {bounds.min_side} at least")


@contextlib.contextmanager
def _readable(data: bytes) -> Iterator[None]:
    try:
        yield
    except PictureRejected:
        raise
    except UnidentifiedImageError:
        raise PictureRejected(_why_unknown(data)) from None
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders raise
        raise PictureRejected(f"is damaged or truncated ({error or type(error).__name__})") from error


def _why_unknown(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return "is a HEIC picture, which is not read; save it as JPEG"
    for name, magics in _MAGICS.items():
        if data.startswith(magics):
            return f"is a {name} that is damaged, or of a kind that is not read"
    return "is not a picture in a known format"
