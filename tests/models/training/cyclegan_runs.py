"""Small CycleGAN runs on pictures of two colours."""

import numpy as np
import torch
from PIL import Image

from models.store.options import CycleGANOptions
from tests.models.training.runs import write_run


def red_and_blue(root):
    """The folder with six red and four blue pictures with noise, in two domains."""
    rng = np.random.default_rng(0)
    for domain, color, count in (("A", (200, 40, 40), 6), ("B", (40, 40, 200), 4)):
        folder = root / f"train{domain}"
        folder.mkdir()
        for number in range(count):
            noise = rng.integers(-30, 30, (24, 24, 3))
            Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


class Brighter(torch.nn.Module):
    def __init__(self, levels):
        super().__init__()
        self.levels = levels  # of 255

    def forward(self, x):
        return x + self.levels / 127.5


def make_run(path, dataset, **options):
    small = {"load_size": 36, "image_size": 32, "ngf": 2, "ndf": 2, "n_blocks": 1, "device": "cpu", "pool_size": 3}
    schedule = {"epochs": 2, "epochs_decay": 1, "sample_every": 6, "save_every": 5}
    return write_run(path, CycleGANOptions(dataset=dataset, **(small | schedule | options)))
