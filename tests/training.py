"""Small data sets and runs for tests of the trainer and of training over HTTP."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CYCLEGAN = {
    "load_size": 36,
    "image_size": 32,
    "ngf": 2,
    "ndf": 2,
    "n_blocks": 1,
    "pool_size": 3,
    "epochs": 3,
    "epochs_decay": 0,
    "sample_every": 5,
    "save_every": 5,
}
CUT = {name: value for name, value in CYCLEGAN.items() if name != "pool_size"} | {"patches": 16, "patch_dim": 8}
STARGAN = {
    "img_size": 64,
    "base_dim": 4,
    "max_conv_dim": 8,
    "style_dim": 8,
    "latent_dim": 4,
    "masks": "ones",
    "batch_size": 2,
    "total_iters": 6,
    "sample_every": 3,
    "save_every": 3,
}
ENDLESS = {"epochs": 1e5, "save_every": 5}


def add_dataset(data_dir: Path, name: str = "colors", domains: tuple[str, ...] = ("red", "blue")) -> Path:
    """A data set of six noisy ramps a domain, and two held out, as an operator would lay it down."""
    rng = np.random.default_rng(0)
    root = data_dir / "datasets" / name
    for place, domain in enumerate(domains):
        color = np.roll((200, 60, 40), place)
        for part, count in (("train", 6), ("val", 2)):
            folder = root / part / domain
            folder.mkdir(parents=True)
            for n in range(count):
                ramp = np.linspace(*rng.permutation([0.2, 1.2]), 40)[None, :, None]
                noise = rng.integers(-20, 20, (40, 40, 3))
                Image.fromarray((color * ramp + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{n}.png")
    return root


def cyclegan(**options: Any) -> dict[str, Any]:
    return {"dataset": "colors", **CYCLEGAN, **options}


def cut(**options: Any) -> dict[str, Any]:
    return {"dataset": "colors", **CUT, **options}


def stargan(**options: Any) -> dict[str, Any]:
    return {"dataset": "colors", **STARGAN, **options}
