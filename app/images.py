"""Decode and check uploaded pictures, and encode results. Every rule about uploaded pictures is here. Pillow only."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from app.errors import BadPicture
from app.geometry import MAX_SIDE, MIN_SIDE, Geometry, plan
from models.pictures import Picture
from worker.contract import Delivery

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ACCEPTED = "Accepted: JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF pictures."

# The IPTC term for a picture that a trained model made from another picture.
_DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
GENERATED_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{_DIGITAL_SOURCE}"/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()

# Pillow's own limit is a process-wide global that only warns; ours is a setting, and its error says what is accepted.
Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, geometry: Geometry, *, max_pixels: int, max_output_pixels: int) -> Picture:
    """Decode an upload to RGB in the shape in which the model gets it; see :func:`prepare`."""
    return prepare(data, geometry, max_pixels=max_pixels, max_output_pixels=max_output_pixels)[0]


def prepare(
    data: bytes, geometry: Geometry, *, max_pixels: int, max_output_pixels: int
) -> tuple[Picture, Delivery | None]:
    """Decode an upload to RGB in the shape in which the model gets it.

    EXIF orientation is applied, colours are converted to sRGB, transparency is composited on white, and only the first
    frame of an animation is used.

    Returns:
        (H, W, 3) uint8 RGB, both sides multiples of ``geometry.multiple``; and how the result becomes the answer.

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
            planned = plan(image.size[::-1] if turned else image.size, geometry, max_output_pixels)
            # A JPEG can be decoded at a fraction of its size, which is much faster; draft() keeps enough pixels.
            image.draft(None, planned.worked[::-1] if turned else planned.worked)
            image.load()
            rgb = _to_srgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise BadPicture(f"The upload ({len(data)} bytes) is not a picture in a known format. {ACCEPTED}") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error) as error:
        raise BadPicture(f"The picture is damaged or truncated ({error}). {ACCEPTED}") from error
    except (MemoryError, OverflowError, TypeError, NotImplementedError, ZeroDivisionError, RuntimeError) as error:
        raise BadPicture(f"The picture's content is inconsistent ({error}). {ACCEPTED}") from error
    return planned.apply(rgb), planned.delivery


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
