"""Uploads for tests, made on the spot."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

BACKGROUND = (120, 140, 160)
_PIXELS = (b"IDAT", b"VP8 ", b"mdat", b"\xff\xda")  # what comes before the pixels of PNG, WebP, MP4 and JPEG


def landscape(width: int = 96, height: int = 64) -> Image.Image:
    """A small RGB picture with a gradient in each channel, so that turning, cropping and inverting all show."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8))


def face(side: int) -> Image.Image:
    """A drawn face, seen from the front, that a detector takes for one."""
    fine = 4 * side
    image = Image.new("RGB", (fine, fine), BACKGROUND)
    draw = ImageDraw.Draw(image)

    def oval(x: float, y: float, width: float, height: float, color: tuple[int, int, int]) -> None:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        draw.ellipse([edge * fine for edge in box], fill=color)

    oval(0.5, 0.38, 0.74, 0.68, (60, 40, 30))  # hair
    oval(0.5, 0.52, 0.60, 0.80, (224, 180, 150))
    for x in (0.37, 0.63):
        brow = ((x - 0.09) * fine, 0.385 * fine), ((x + 0.09) * fine, 0.38 * fine)
        draw.line(brow, fill=(70, 45, 35), width=round(0.03 * fine))
        oval(x, 0.45, 0.17, 0.085, (150, 110, 95))
        oval(x, 0.455, 0.13, 0.06, (245, 245, 245))
        oval(x, 0.455, 0.055, 0.06, (40, 30, 25))
    nose = [(0.5, 0.45), (0.45, 0.63), (0.55, 0.63)]
    draw.polygon([(x * fine, y * fine) for x, y in nose], fill=(200, 150, 122))
    for x in (0.465, 0.535):
        oval(x, 0.635, 0.04, 0.025, (120, 75, 65))
    oval(0.5, 0.75, 0.24, 0.07, (150, 60, 60))
    small = image.resize((side, side), Image.Resampling.LANCZOS)
    return small.filter(ImageFilter.GaussianBlur(side / 100))


def photo(width: int, height: int, *faces: tuple[int, int, int]) -> Image.Image:
    """A plain background with faces, each given by left, top and side in px."""
    image = Image.new("RGB", (width, height), BACKGROUND)
    for left, top, side in faces:
        image.paste(face(side), (left, top))
    return image


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def altered(data: bytes) -> bytes:
    """The file with one bit of its pixels turned."""
    at = next(data.index(start) for start in _PIXELS if start in data) + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
