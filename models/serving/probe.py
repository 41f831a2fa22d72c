"""A picture to try a network on, and the gate that a lower precision must pass. Loads no torch."""

import numpy as np
from PIL import Image

from models.pictures import Picture
from models.serving.random_numbers import uniform

MIN_PSNR_DB = 40.0  # of bfloat16's picture against float32's, for a peak of 255 levels
PROBE_SIDE = 128  # px
COARSE_SIDE = 16  # px


def probe() -> Picture:
    """A smooth picture (PROBE_SIDE, PROBE_SIDE, 3), the same on every machine."""
    coarse = uniform(0, 3 * COARSE_SIDE**2).reshape(3, COARSE_SIDE, COARSE_SIDE)
    size = (PROBE_SIDE, PROBE_SIDE)
    smooth = [np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)) for channel in coarse]
    return np.rint(np.stack(smooth, axis=-1) * np.float32(255)).astype(np.uint8)


def psnr_db(picture: Picture, expected: Picture) -> float:
    """The peak signal-to-noise ratio between two pictures of one shape; at most 120."""
    mse = np.square(picture.astype(np.float64) - expected).mean()
    return float(10 * np.log10(255**2 / max(mse, 255**2 * 1e-12)))
