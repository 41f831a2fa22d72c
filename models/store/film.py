"""A StarGAN v2 run's film: its fixed sources going from reference to reference, kept beside the run at its end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILM_FILE = "film.webp"  # lossless, to be laid beside others and encoded once
FPS = 12


def save_film(folder: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    """Keep frames (H, W, 3), uint8 RGB, of one shape."""
    pictures = [Image.fromarray(frame) for frame in frames]
    part = folder / f"{FILM_FILE}.part"
    pictures[0].save(
        part, format="WEBP", save_all=True, append_images=pictures[1:], duration=1000 // FPS, lossless=True, method=0
    )
    part.replace(folder / FILM_FILE)
