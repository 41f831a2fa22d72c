"""Decode and check uploaded pictures, and encode results. Every rule about uploaded pictures is here. Pillow only."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from app.errors import BadPicture
from models.errors import Invalid
from models.pictures import Picture

Fit = Literal["keep", "square", "crop"]
Resolution = int | Literal["native"] | None  # px, short side; None: as uploaded, within a bound

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ACCEPTED = "Accepted: JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF pictures."
MIN_SIDE = 16  # px; a generator halves smaller pictures down to nothing
MAX_SIDE = 16_383  # px; the limit of WebP
DEFAULT_RESOLUTION = 512  # px, short side
SIDE_MULTIPLE = 4  # generators halve the picture twice
LONG_SIDE_MULTIPLE = 32  # px; coarse, so that photos share shapes and can run in one batch

# The IPTC term for a picture that a trained model made from another picture.
_DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
GENERATED_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{_DIGITAL_SOURCE}"/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()

# Pillow's own limit is a process-wide global that only warns; ours is a setting, and its error says what is accepted.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Geometry:
    """How an upload is brought to the shape in which a model gets it."""

    resolution: Resolution = None
    fit: Fit = "keep"
    multiple: int = SIDE_MULTIPLE  # px; both sides become multiples of this
    at_most: int = DEFAULT_RESOLUTION  # px; short side limit when no resolution is given

    @classmethod
    def squeezed(cls, image_size: int) -> "Geometry":
        """Resize to a square without keeping the aspect, as the style encoder's training pictures were."""
        return cls(image_size, "square")


def decode(data: bytes, geometry: Geometry, *, max_pixels: int, max_output_pixels: int) -> Picture:
    """Decode an upload to RGB in the shape that ``geometry`` asks for.

    EXIF orientation is applied, colours are converted to sRGB, transparency is composited on white, and only the first
    frame of an animation is used.

    Returns:
        (H, W, 3) uint8 RGB, both sides multiples of ``geometry.multiple``.

    Raises:
        BadPicture: not a picture, damaged, too small, or over ``max_pixels``.
        Invalid: the geometry asks for more than ``max_output_pixels``.
    """
    if not data:
        raise BadPicture(f"The upload is empty. {ACCEPTED}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, max_pixels)
            turned = image.format != "TIFF" and _is_rotated(image)  # Pillow already swaps the size of a TIFF
            plan = _plan(image.size[::-1] if turned else image.size, geometry, max_output_pixels)
            # A JPEG can be decoded at a fraction of its size, which is much faster; draft() keeps enough pixels.
            image.draft(None, plan.target[::-1] if turned else plan.target)
            image.load()
            rgb = _to_srgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise BadPicture(f"The upload ({len(data)} bytes) is not a picture in a known format. {ACCEPTED}") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error) as error:
        raise BadPicture(f"The picture is damaged or truncated ({error}). {ACCEPTED}") from error
    except (MemoryError, OverflowError, TypeError, NotImplementedError, ZeroDivisionError, RuntimeError) as error:
        raise BadPicture(f"The picture's content is inconsistent ({error}). {ACCEPTED}") from error
    return np.asarray(plan.apply(rgb))


def resized(picture: Picture, width: int, height: int) -> Picture:
    """The picture in another size."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def encode(picture: Picture, media_type: str) -> bytes:
    """Encode (H, W, 3) uint8 RGB as ``media_type``. The only metadata is the IPTC mark of generated media."""
    file = io.BytesIO()
    _WRITERS[media_type](Image.fromarray(picture), file)
    return file.getvalue()


def _write_png(image: Image.Image, file: io.BytesIO) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", GENERATED_XMP.decode())
    image.save(file, "PNG", pnginfo=info, compress_level=1)  # level 6 takes three times as long and saves a tenth


def _write_jpeg(image: Image.Image, file: io.BytesIO) -> None:
    image.save(file, "JPEG", quality=95, xmp=GENERATED_XMP)


def _write_webp(image: Image.Image, file: io.BytesIO) -> None:
    image.save(file, "WEBP", quality=90, method=2, xmp=GENERATED_XMP)


_WRITERS: dict[str, Callable[[Image.Image, io.BytesIO], None]] = {
    "image/png": _write_png,
    "image/jpeg": _write_jpeg,
    "image/webp": _write_webp,
}
MEDIA_TYPES = tuple(_WRITERS)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadPicture(f"The picture has {width} × {height} pixels; at most {max_pixels:,} pixels are accepted.")
    if min(size) < MIN_SIDE or max(size) > MAX_SIDE:
        raise BadPicture(f"The picture is {width} × {height}; sides of {MIN_SIDE} to {MAX_SIDE} px are accepted.")


def _is_rotated(image: Image.Image) -> bool:
    """Whether EXIF asks for a quarter turn. Like Pillow, ignores undefined values."""
    try:
        return image.getexif().get(0x0112) in (5, 6, 7, 8)
    except Exception:  # broken EXIF must not refuse a sound picture
        return False


@dataclass(frozen=True)
class _Plan:
    """Crop and resize that bring an upload to its target shape."""

    target: tuple[int, int]  # width, height in px
    scaled: bool  # False: crop only, no pixel changes
    fit: Fit

    def apply(self, image: Image.Image) -> Image.Image:
        """Crop around the centre and resize to ``target``. JPEG's draft mode may already have shrunk it."""
        if self.fit == "square":
            return image.resize(self.target, Image.Resampling.BICUBIC)
        scale = min(self.target) / min(image.size) if self.scaled else 1.0
        width, height = (min(have, want / scale) for have, want in zip(image.size, self.target, strict=True))
        left, top = (image.width - width) / 2, (image.height - height) / 2
        if not self.scaled:
            left, top = int(left), int(top)
            return image.crop((left, top, left + self.target[0], top + self.target[1]))
        return image.resize(self.target, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))


def _plan(size: tuple[int, int], geometry: Geometry, max_output_pixels: int) -> _Plan:
    width, height = size
    short, long = sorted(size)
    if geometry.resolution is None:
        wanted = min(short, geometry.at_most)
    else:
        wanted = short if geometry.resolution == "native" else geometry.resolution
    # Instance normalisation needs at least 2 × 2 features at the deepest layer.
    side = max(MIN_SIDE, 2 * geometry.multiple, wanted // geometry.multiple * geometry.multiple)
    scaled = wanted != short or side > short
    if geometry.fit == "keep":
        length = long * side / short if scaled else long
        # Rounding down crops a few pixels; a nearly square picture becomes square.
        coarse = max(LONG_SIDE_MULTIPLE, geometry.multiple)
        other = max(side, int(length) // coarse * coarse)
    else:
        other = side
    if side * other > max_output_pixels or other > MAX_SIDE:
        raise Invalid(
            f"The picture would be translated at {side} × {other} pixels; at most {max_output_pixels:,} pixels are "
            f"accepted, and sides of at most {MAX_SIDE}. Ask for a smaller resolution."
        )
    return _Plan((side, other) if width <= height else (other, side), scaled, geometry.fit)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to sRGB: 16 and 32 bits are scaled to 8, transparency is composited on white."""
    profile = image.info.get("icc_profile")
    image = _to_eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
        image = image.convert("RGB")
    elif image.mode not in ("RGB", "CMYK", "L", "LAB"):
        image = image.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile, or one for another colour space, must not refuse the picture
    if image.mode == "LAB":
        lab_to_srgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        image = ImageCms.applyTransform(image, lab_to_srgb) or image
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    levels = np.asarray(image)
    if levels.dtype.itemsize == 2:
        return Image.fromarray((levels >> 8).astype(np.uint8))
    levels = np.nan_to_num(levels.astype(np.float32), copy=False)
    # By convention floats are in [0, 1] and integers have 16 bits, unless larger values occur.
    full = max(1.0 if image.mode == "F" else 65535.0, float(levels.max(initial=0)))
    levels *= 255 / full
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))
