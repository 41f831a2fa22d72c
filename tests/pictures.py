"""Uploads for tests, made on the spot."""

import io

import numpy as np
from PIL import Image


def landscape(width: int = 96, height: int = 64) -> Image.Image:
    """A small RGB picture with a gradient in each channel, so that turning, cropping and inverting all show."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
