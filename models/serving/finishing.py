"""Pictures before and after they are painted: made smaller, and given back the photo's detail or its colours."""

import numpy as np
from PIL import Image

from models.pictures import Picture

LEAST_SIDE = 16  # px, that a painter paints


def reduced(picture: Picture, reduction: float) -> Picture:
    """The picture so many times smaller, sides multiples of 4."""
    if reduction == 1:
        return picture
    height, width = (max(LEAST_SIDE, round(side / reduction / 4) * 4) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def with_detail_of(picture: Picture, painted: Picture) -> Picture:
    """``painted`` in the size of ``picture``, with the fine lightness that the picture would lose in its size."""
    full, small = picture.shape[1::-1], painted.shape[1::-1]
    source = Image.fromarray(picture).convert("L")
    coarse = source.resize(small, Image.Resampling.BICUBIC).resize(full, Image.Resampling.BICUBIC)
    lost = np.asarray(source, np.int16) - np.asarray(coarse)
    enlarged = Image.fromarray(painted).resize(full, Image.Resampling.BICUBIC)
    light, *colours = enlarged.convert("YCbCr").split()
    detailed = np.clip(np.asarray(light) + lost, 0, 255).astype(np.uint8)
    return np.asarray(Image.merge("YCbCr", (Image.fromarray(detailed), *colours)).convert("RGB"))


def with_colours_of(picture: Picture, painted: Picture) -> Picture:
    """The lightness of ``painted`` with the colours of ``picture``, of the same shape (YCbCr, as JPEG has it)."""
    light = Image.fromarray(painted).convert("YCbCr").getchannel(0)
    _, blue, red = Image.fromarray(picture).convert("YCbCr").split()
    return np.asarray(Image.merge("YCbCr", (light, blue, red)).convert("RGB"))
