"""Find the face in a photo, and cut out what the worker needs to align it.

The landmark network in the worker can only read a face that fills the picture, so the face is found here first, with
dlib's frontal detector, which needs no model file.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from app.errors import NoFace
from models.pictures import Picture
from worker.contract import FACE_MARGIN, FACE_SIDE

DETECTION_SIDE = 640  # px, longer side of the picture that is searched; faces down to an eighth of it are found
MIN_FACE = 48  # px, width of the smallest face that is accepted
MIN_SCORE = 0.0  # the detector's own threshold

# The detector is slow to build and cannot be shared between threads.
_detectors = threading.local()


@dataclass(frozen=True)
class Face:
    """A face in a picture: a square around eyes, nose and mouth, in px."""

    x: float  # of its centre
    y: float
    width: float


def cut_out(picture: Picture, *, name: str) -> tuple[Picture, str | None]:
    """Cut out the largest face with its surroundings, for the worker to align.

    Args:
        picture: (H, W, 3) uint8 RGB.
        name: of the picture, for messages.

    Returns:
        A square (FACE_SIDE, FACE_SIDE, 3), uint8 RGB, ``FACE_MARGIN`` times as wide as the face, in which the area
        beyond the picture's border is mirrored and blurred; and a note for the client if there were several faces.

    Raises:
        NoFace: there is no face, or it is too small.
    """
    faces = _find(picture)
    if not faces:
        raise NoFace(
            f"No face was found in the {name}. This model needs one, seen from the front and at least an eighth of the "
            "picture wide; or crop the picture to the face, hair and chin included, and send align=none."
        )
    largest = max(faces, key=lambda face: face.width)
    if largest.width < MIN_FACE:
        raise NoFace(
            f"The face in the {name} is {largest.width:.0f} px wide; at least {MIN_FACE} px are needed. Send a larger "
            "picture, or crop it to the face and send align=none."
        )
    note = f"the largest of {len(faces)} faces in the {name} was taken" if len(faces) > 1 else None
    return _surroundings(picture, largest), note


def _find(picture: Picture) -> list[Face]:
    image = Image.fromarray(picture)
    scale = min(1.0, DETECTION_SIDE / max(image.size))
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    # A small picture is searched at twice its size, since the detector's window has a fixed one.
    doublings = 1 if max(small.size) < DETECTION_SIDE // 2 else 0
    boxes, _, _ = _detector().run(np.asarray(small), doublings, MIN_SCORE)
    return [Face(x=box.center().x / scale, y=box.center().y / scale, width=box.width() / scale) for box in boxes]


def _detector() -> Any:  # dlib has no types
    if not hasattr(_detectors, "frontal"):
        import dlib

        _detectors.frontal = dlib.get_frontal_face_detector()
    return _detectors.frontal


def _surroundings(picture: Picture, face: Face) -> Picture:
    side = round(face.width * FACE_MARGIN)
    left, top = round(face.x - side / 2), round(face.y - side / 2)
    height, width, _ = picture.shape
    around = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    pads = ((around[0], around[1]), (around[2], around[3]), (0, 0))
    padded = np.pad(picture, pads, mode="symmetric")
    top, left = top + around[0], left + around[2]
    cut = Image.fromarray(padded[top : top + side, left : left + side])
    if any(around):
        inside = Image.fromarray(np.pad(np.full((height, width), 255, np.uint8), pads[:2]))
        inside = inside.crop((left, top, left + side, top + side))
        blur = ImageFilter.GaussianBlur(side / 30)
        # The blur sets in gradually at the border, so that no seam shows.
        cut = Image.composite(cut, cut.filter(blur), inside.filter(ImageFilter.GaussianBlur(side / 60)))
    return np.asarray(cut.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC))
