"""From a decoded picture of any mode to sRGB on a white background."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # colour space of a profile → Pillow's mode
_GREYS = ("1", "L", "LA", "La")
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
_SAME = 1  # levels; a profile that changes colours by no more than that is sRGB itself


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB, and lay it on white where it is transparent.

    A profile that is broken, or of another colour space than the picture's, is ignored, as viewers do.

    Args:
        image: of 8 bits.

    Returns:
        The picture in mode RGB.
    """
    is_grey = image.mode in _GREYS
    image = _on_white(image)
    if image.mode not in ("RGB", "CMYK", "L", "LAB"):
        image = image.convert("RGB")
    mode = _profile_mode(icc_profile) if icc_profile else None
    if mode == "RGB" and is_grey:
        image = image.convert("RGB")
    elif mode == "L" and is_grey:
        image = image.convert("L")
    if icc_profile and mode == image.mode and (transform := _transform(icc_profile, mode)):
        return ImageCms.applyTransform(image, transform) or image
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_to_srgb()) or image
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in _TRANSPARENT and "transparency" not in image.info:
        return image
    if image.mode == "La":
        image = image.convert("LA")
    layer = image.convert("RGBA")
    background = Image.new("RGBA", layer.size, "white")
    background.alpha_composite(layer)
    return background.convert("RGB")


def _profile_mode(icc_profile: bytes) -> str | None:
    return _MODES.get(icc_profile[16:20].decode("latin-1").strip())


@functools.lru_cache(maxsize=16)
def _transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None if the profile is unusable, or is that of sRGB, so that there is nothing to do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "RGB":
            steps = np.linspace(0, 255, 9).astype(np.uint8)
            colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
            shown = ImageCms.applyTransform(Image.fromarray(colours), transform)
            if np.abs(np.asarray(shown).astype(int) - colours).max() <= _SAME:
                return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform


@functools.cache
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
