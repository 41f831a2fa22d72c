"""Pictures outside the networks: files, arrays of pixels, and which files of a folder are pictures. No torch."""

import numpy as np
from numpy.typing import NDArray

from models.pictures.folders import SUFFIXES, is_clutter, list_others, list_pictures, list_subfolders

__all__ = ["SUFFIXES", "Picture", "is_clutter", "list_others", "list_pictures", "list_subfolders"]

Picture = NDArray[np.uint8]  # (H, W, 3) RGB, 0 to 255
