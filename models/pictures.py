"""Pictures outside the networks: arrays of pixels, and which files of a folder are pictures. No torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB, 0 to 255

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def list_pictures(folder: Path) -> list[Path]:
    """The picture files directly in ``folder``, sorted by name; empty when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
