"""The film of a StarGAN v2 run: its fixed sources as their style moves from reference to reference."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.pictures import Picture
from models.store.files import replacing

FILM_FILE = "film.webp"  # lossless: films are put side by side and encoded once
FPS = 12


def save_film(folder: Path, frames: Sequence[Picture]) -> None:
    """Save frames of one shape in the run's folder."""
    pictures = [Image.fromarray(frame) for frame in frames]
    with replacing(folder / FILM_FILE) as part:
        pictures[0].save(
            part,
            format="WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=1000 // FPS,
            lossless=True,
            method=0,
        )
