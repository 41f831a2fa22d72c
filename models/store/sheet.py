"""Reading a run's sample picture again: which rows are inputs, and which are what the generators made. No torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.store.options import StarGANOptions
from models.store.run_folder import RunFolder
from models.store.run_status import read_status

DOMAINS = 4  # of a StarGAN v2 that are shown, from each to each: of many, a picture would take gigabytes
PADDING = 2  # px around every cell, as torchvision's make_grid leaves


@dataclass(frozen=True)
class Row:
    """Cells side by side, (H, W, 3) uint8 RGB each."""

    inputs: NDArray[np.uint8]
    outputs: NDArray[np.uint8]


def rows_of(run: RunFolder) -> dict[str, Row]:
    """Of the newest sample picture, by what is done: ``A to B`` and ``B to A``, or a guide for StarGAN v2."""
    options = run.options()
    with Image.open(run.sample_path(run.samples()[-1])) as opened:
        sheet = np.asarray(opened.convert("RGB"))
    if not isinstance(options, StarGANOptions):
        pitch = options.image_size + PADDING
        rows = _strips(sheet, pitch)
        return {"A to B": Row(rows[0], rows[1]), "B to A": Row(rows[3], rows[4])}
    pitch = options.img_size + PADDING
    rows = _strips(sheet, pitch)
    status = read_status(run.path)
    domains = status.domains[:DOMAINS] if status else []
    columns = rows[0].shape[1] // pitch - 1
    count = columns // max(1, len(domains))
    found = {}
    for y, domain in enumerate(domains):
        found[f"in the style of the {domain} at the left"] = Row(rows[0], rows[2 + y * count])
    first_latent = 2 + columns
    for y, domain in enumerate(domains):
        found[f"{domain}, a latent code"] = Row(rows[0], rows[first_latent + 3 * y + 2])
    return found


def _strips(sheet: NDArray[np.uint8], pitch: int) -> list[NDArray[np.uint8]]:
    return [sheet[top : top + pitch] for top in range(0, len(sheet) - pitch + 1, pitch)]
