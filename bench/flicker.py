"""What flickers in films of a slow camera: frames painted alone, on the grid of the last one, with its statistics."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from bench.machine import cpu
from models.device import ServingDevice
from models.pictures import Picture
from models.serving.painter import Painter
from models.serving.painting import Painting
from models.serving.steadying import SHARE, Steady
from models.store.catalog import Catalog
from tests.processes import ROOT

SIZE = (240, 192)  # px
FRAMES = 16
BORDER = 16  # px, not looked at: what comes into view is new
IMAGES = ROOT / "docs/images"

Paint = Callable[[Picture], Picture]
Motion = tuple[float, float]  # px a frame, to the right and down


def films() -> None:
    """Print what changes from frame to frame in films of a camera that moves, and of one at rest that sees a change."""
    sample = Image.open(IMAGES / "sample-photo.jpg").convert("RGB")
    clips: dict[str, tuple[list[Picture], Motion]] = {
        f"camera moves {right} px right, {down} px down a frame": (_pan(sample, (right, down)), (right, down))
        for right, down in ((1.0, 0.0), (0.7, 0.25), (2.3, 0.0))
    }
    clips["camera at rest, a white card passes"] = (_card(sample), (0.0, 0.0))
    print(f"\nFlicker, mean levels between consecutive frames, {SIZE[0]} × {SIZE[1]} px, {cpu()}\n")
    print("| clip | painted | after less before | after, along the motion | before, along the motion |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, (frames, motion) in clips.items():
        for how, paint in _ways(frames[0]).items():
            made = [paint(frame) for frame in frames]
            more = _change(made, (0, 0)) - _change(frames, (0, 0))
            print(f"| {name} | {how} | {more:.2f} | {_change(made, motion):.2f} | {_change(frames, motion):.2f} |")


def _ways(first: Picture) -> dict[str, Paint]:
    model = Catalog(ROOT / "weights", ROOT / "nowhere").get("style-by-example")
    painter = Painter(model, ServingDevice("cpu"))
    style = np.asarray(Image.open(IMAGES / "sample-painting.jpg").convert("RGB"))
    painting = Painting(weights=[1.0])
    own = painter.filming(painting, [style], first)
    laid = painter.filming(painting, [style], first)
    return {
        "each frame alone": lambda frame: own(frame, 1.0),
        "on the last frame's grid": Steady(lambda frame, share: laid(frame, 1.0)),
        f"and {SHARE:.0%} of each frame's statistics": Steady(painter.filming(painting, [style], first)),
    }


def _pan(sample: Image.Image, motion: Motion) -> list[Picture]:
    right, down = motion
    scene = sample.resize((round(sample.width * 300 / sample.height), 300), Image.Resampling.LANCZOS)
    places = [(1, 0, 4 + right * n, 0, 1, 20 + down * n) for n in range(FRAMES)]
    return [
        np.asarray(scene.transform(SIZE, Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)) for place in places
    ]


def _card(sample: Image.Image) -> list[Picture]:
    """A white card crosses the upper part; only the lower part is looked at, in which nothing happens."""
    frames = []
    for n in range(FRAMES):
        frame = sample.resize(SIZE, Image.Resampling.LANCZOS)
        ImageDraw.Draw(frame).rectangle([20 * n - 70, 0, 20 * n, 90], fill="white")
        frames.append(np.asarray(frame))
    return frames


def _change(frames: Sequence[Picture], motion: Motion) -> float:
    """Mean difference of each frame to the one before it, moved as the camera has moved; of the lower half."""
    place = (1, 0, motion[0], 0, 1, motion[1])
    differences = []
    for before, after in itertools.pairwise(frames):
        moved = Image.fromarray(before).transform(SIZE, Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)
        difference = np.abs(np.asarray(moved, np.int16) - after)
        differences.append(difference[SIZE[1] // 2 + 2 * BORDER : -BORDER, BORDER:-BORDER].mean())
    return float(np.mean(differences))
