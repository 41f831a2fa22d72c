"""Shapes of pictures: the one that a client asks for, the one in which a model gets its picture, and the way back.

A model works on sides that are multiples of a few pixels. Up to such a shape a picture is continued to the right and
downwards, by its mirror image, and the result is cut to what was asked for. No pixel moves, so a result laid over its
source matches everywhere. Resizing to a multiple and back would blur, and comes less close to the translation of a
larger picture.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from models.errors import Invalid
from models.pictures import Picture
from worker.contract import Delivery

Fit = Literal["keep", "square", "crop"]
Resolution = int | Literal["native", "source"] | None  # px, short side; None: the standard

MIN_SIDE = 16  # px; a generator halves smaller pictures down to nothing
MAX_SIDE = 16_383  # px; the limit of WebP
STANDARD = 512  # px, short side
SIDE_MULTIPLE = 4  # generators halve the picture twice
LONG_SIDE_MULTIPLE = 32  # px; coarse, so that photos share shapes and can run in one batch

Size = tuple[int, int]  # width and height in px


@dataclass(frozen=True)
class Geometry:
    """What a client asks for, and what a model needs."""

    resolution: Resolution = None
    fit: Fit = "keep"
    multiple: int = SIDE_MULTIPLE  # px; the model's sides are multiples of this; 1: any sides
    standard: int = STANDARD  # px, short side at which the model works if no number is asked for
    enlarge: bool = False  # whether smaller pictures are brought to the standard, too
    stroke: float = 1.0  # how much smaller the picture is than the answer while the model works on it
    only_square: int | None = None  # px; the model takes only this square, into which the whole picture is squeezed

    @classmethod
    def squeezed(cls, image_size: int) -> "Geometry":
        """Resize to a square without keeping the aspect, as the style encoder's training pictures were."""
        return cls(image_size, "square", multiple=1)

    @classmethod
    def middle_square(cls, side: int) -> "Geometry":
        """Cut out the middle square, which is all that a style model looks at in a style picture."""
        return cls(side, "crop", multiple=1)


@dataclass(frozen=True)
class Plan:
    """How one upload is brought to the model's shape. The result is brought back by ``delivery``."""

    worked: Size  # what of the model's picture counts
    padded: Size  # the model's picture
    asked: Size  # the answer
    fit: Fit
    tiled: bool = False  # too large to be given to the model at once

    @property
    def delivery(self) -> Delivery | None:
        """None if the generated picture is the answer as it is."""
        if self.padded == self.asked:
            return None
        width, height = self.worked
        return Delivery(width=width, height=height, out_width=self.asked[0], out_height=self.asked[1])

    def apply(self, image: Image.Image) -> Picture:
        """Crop, resize and continue ``image``. JPEG's draft mode may already have shrunk it."""
        if self.fit == "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if image.size != self.worked:
            image = image.resize(self.worked, Image.Resampling.BICUBIC)
        right, below = (have - want for have, want in zip(self.padded, self.worked, strict=True))
        picture: Picture = np.asarray(image)
        return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="reflect") if right or below else picture


def plan(size: Size, geometry: Geometry, max_output_pixels: int, max_tiled_pixels: int = 0) -> Plan:
    """Plan how an upload of ``size`` is translated.

    Args:
        max_output_pixels: most pixels that the model is given at once.
        max_tiled_pixels: most pixels of a picture that is translated in tiles; 0: it is refused.

    Raises:
        Invalid: the geometry asks for more than is accepted, or for a side over ``MAX_SIDE``.
    """
    short = min(size)
    standard = geometry.standard if geometry.enlarge else min(short, geometry.standard)
    match geometry.resolution:
        case None:
            work_side = ask_side = standard
        case "native":
            work_side = ask_side = short
        case "source":
            work_side, ask_side = standard, short
        case int(side):
            work_side = ask_side = side
    work_side = round(work_side / geometry.stroke)
    # Instance normalisation needs at least 2 × 2 features at the deepest layer.
    work_side = max(MIN_SIDE, 2 * geometry.multiple, work_side)
    asked = _scaled(size, ask_side, geometry.fit)
    if geometry.only_square:
        worked = padded = (geometry.only_square, geometry.only_square)
    else:
        worked = _scaled(size, work_side, geometry.fit)
        padded = _padded(worked, geometry.multiple)
    tiled = padded[0] * padded[1] > max_output_pixels
    if (tiled and worked[0] * worked[1] > max_tiled_pixels) or max(*padded, *asked) > MAX_SIDE:
        most = max(max_output_pixels, max_tiled_pixels)
        raise Invalid(
            f"The picture would be translated at {padded[0]} × {padded[1]} pixels; at most {most:,} pixels"
            f" are accepted, and sides of at most {MAX_SIDE}. Ask for a smaller resolution."
        )
    return Plan(worked, padded, asked, geometry.fit, tiled)


def delivered(picture: Picture, delivery: Delivery | None) -> Picture:
    """Bring a generated picture (H, W, 3), uint8 RGB, to the shape that its client asked for."""
    if delivery is None:
        return picture
    part = picture[: delivery.height, : delivery.width]
    return resized(part, delivery.out_width, delivery.out_height)


def resized(picture: Picture, width: int, height: int) -> Picture:
    """The picture in another size."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _scaled(size: Size, side: int, fit: Fit) -> Size:
    if fit != "keep":
        return side, side
    width, height = size
    long = int(max(size) * side / min(size) + 0.5)
    return (side, long) if width <= height else (long, side)


def _padded(size: Size, multiple: int) -> Size:
    """The smallest shape of a model around ``size``."""
    if multiple == 1:
        return size
    coarse = max(LONG_SIDE_MULTIPLE, multiple)
    width, height = size
    if width == height:
        return _up(width, multiple), _up(height, multiple)
    return (
        (_up(width, multiple), _up(height, coarse)) if width < height else (_up(width, coarse), _up(height, multiple))
    )


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
