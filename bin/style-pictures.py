"""Paint the pictures that the repository holds of its style models: a sample of each, and those in the docs.

usage: bin/style-pictures.py        (in the repository's root)
"""

from pathlib import Path

import numpy as np
from PIL import Image

from models.device import ServingDevice
from models.pictures import Picture
from models.serving.painter import Painter
from models.serving.painting import Painting
from models.store.catalog import Catalog

IMAGES = Path("docs/images")
WEIGHTS = Path("weights")
SAMPLE = (144, 108)  # px
PAINTED = (464, 348)  # px; about what the styles were trained at
EXAMPLE = (620, 464)


def photo(size: tuple[int, int]) -> Picture:
    picture = Image.open(IMAGES / "sample-photo.jpg").convert("RGB")
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


def main() -> None:
    catalog, cpu = Catalog(WEIGHTS, Path("none")), ServingDevice("cpu")
    painters: dict[str, Painter] = {}
    painting = np.asarray(Image.open(IMAGES / "sample-painting.jpg").convert("RGB"))
    for model in (model for model in catalog.all() if model.card.family == "style"):
        painter = painters.setdefault(model.weights_name, Painter(model, cpu))
        if model.card.code is None:
            source = photo(EXAMPLE)
            (painted,) = painter([source], [Painting(weights=[1.0])], [[painting]])
            Image.fromarray(painted).save(IMAGES / "sample-photo-style-by-example.jpg", quality=85)
        else:
            (painted,) = painter([photo(PAINTED)], [Painting(code=model.card.code)], [[]])
        small = Image.fromarray(painted).resize(SAMPLE, Image.Resampling.LANCZOS)
        small.save(WEIGHTS / model.name / "sample.webp", quality=45, method=6)


if __name__ == "__main__":
    main()
