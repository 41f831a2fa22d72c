"""Teach a small CycleGAN generator to make what a larger one makes, on a CPU.

usage: bin/distil-weights.py PHOTOS PAINTED START OUT --minutes N      (needs the extra `worker`)

PAINTED has a picture for each of PHOTOS, of the same name and size: what the larger generator made of it, for example
by `doppel translate PHOTOS --model NAME -o PAINTED`. START and OUT are weights of the small generator. It learns from
whole pictures, one at a time, by their distance and that of their edges, at a rate that falls to 0 with the time.
"""

import argparse
import copy
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from models import pixels
from models.cyclegan.networks import ResnetGenerator, balance_upsampling
from models.serving.torch_engine import framed
from models.training.averages import follow
from models.training.cpu_layers import quicken
from models.training.unpaired import in_float16
from models.weights import doctor

RATE = 5e-4
EMA_BETA = 0.99
MARGIN_PX = 24  # reflected around a picture before it is translated: that of the models that ship
SAY_EVERY = 100  # steps


def distance(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of pictures (1, 3, H, W), and of the differences between their neighbouring pixels."""
    edges = [functional.l1_loss(torch.diff(made, dim=axis), torch.diff(wanted, dim=axis)) for axis in (2, 3)]
    return functional.l1_loss(made, wanted) + torch.stack(edges).mean()


def read(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return pixels.to_tensor([np.asarray(image.convert("RGB"))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photos", "painted", "start", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    chosen = parser.parse_args()

    pairs = [
        (photo, painted)
        for painted in sorted(chosen.painted.iterdir())
        for photo in chosen.photos.glob(f"{painted.stem}.*")
    ]
    found = doctor.load(chosen.start)
    network = ResnetGenerator(**dict(found.arguments))
    network.load_state_dict({key: tensor.float() for key, tensor in found.state.items()})
    average = copy.deepcopy(network).requires_grad_(False)
    quicken(network, convolutions=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    chance = random.Random(0)
    started, step, spent = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - started) / (60 * chosen.minutes)) < 1:
        x, wanted = (read(path) for path in chance.choice(pairs))
        if chance.random() < 0.5:
            x, wanted = x.flip(3), wanted.flip(3)
        loss = distance(framed(network, MARGIN_PX, x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * share)) / 2
        optimizer.step()
        balance_upsampling(network)
        follow(average, network, EMA_BETA)
        step, spent = step + 1, spent + loss.item()
        if step % SAY_EVERY == 0:
            print(f"step {step}, {time.monotonic() - started:.0f} s: {spent / SAY_EVERY:.4f}", flush=True)
            spent = 0.0
    doctor.save(in_float16(average.state_dict()), chosen.out)


if __name__ == "__main__":
    main()
