"""How good the pictures of the models that ship are, by figures and to the eye, from sources that no training has seen.

``python -m bench.pictures FOLDER`` prints a table for a folder with ``trainA``, ``testA`` (Monet's paintings) and
``trainB``, ``testB`` (photos). ``--weights`` names another folder of models. ``--sheet FILE --before WEIGHTS`` draws
held-out pictures beside what two such folders make of them. ``--styles FILE`` draws a photo in the styles of held-out
paintings, by StarGAN v2.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models import pixels
from models.device import ServingDevice
from models.pictures import Picture, list_pictures
from models.serving.painter import Brush, Painter
from models.serving.painting import Painting
from models.serving.style_guide import StyleGuide
from models.serving.stylist import Stylist
from models.serving.translator import Translator
from models.store.catalog import Catalog
from models.training.distances import PatchDistance
from models.training.feature_distances import Seen, content, frechet, seen
from models.training.feature_network import missing
from tests.processes import ROOT

FOLDER = Path("data/monet2photo")
WEIGHTS = ROOT / "weights"
PHOTO = ROOT / "docs" / "images" / "sample-photo.jpg"
SIDE = 256  # px
PAINTINGS, PHOTOS = 20, 50  # that are held out, and translated
AMONG = 250  # pictures of the domain that translations are compared with
SHOWN, SHOWN_SIDE = 12, 160  # pictures on a sheet, and their sides in px
STYLES = 8  # paintings on a sheet of styles
CPU = torch.device("cpu")
HEAD = """\
| | pictures | Lite0 Fréchet distance | Lite0 content loss | patch distance left |
| --- | ---: | ---: | ---: | ---: |"""

Translate = Callable[[list[Picture], list[Picture]], list[Picture]]  # sources, references → as many pictures


@dataclass(frozen=True)
class Direction:
    """Sources, and two sets of the domain that they are to be like: as many as there are sources, and others."""

    title: str
    sources: list[Picture]
    real: list[Picture]
    among: list[Picture]
    models: dict[str, Callable[[Path], Translate]]  # name → what loads it from a folder of models


def pictures(folder: Path = FOLDER, weights: Path = WEIGHTS) -> None:
    """Print the table of both directions."""
    if why := missing() or (None if folder.is_dir() else f"{folder} is not here"):
        print(f"pictures: {why}")
        return
    print(HEAD)
    for direction in directions(folder):
        _print(direction, weights)


def directions(folder: Path) -> list[Direction]:
    """Photos into paintings, and paintings into photos."""
    painted, photographed = read(folder / "testA", PAINTINGS), read(folder / "testB", PHOTOS)
    # There are fewer held-out paintings than photos: some that were trained on make up for it, as real ones alone.
    more = read(folder / "trainA", AMONG + PHOTOS - PAINTINGS)
    return [
        Direction(
            "photos into paintings",
            photographed,
            painted + more[AMONG:],
            more[:AMONG],
            {
                "style_monet-lite": _translator("style_monet-lite"),
                "stargan-monet-lite": _stylist("painting"),
                "style-by-example": _by_example,
            },
        ),
        Direction(
            "paintings into photos",
            painted,
            photographed[:PAINTINGS],
            read(folder / "trainB", AMONG),
            {"monet2photo-lite": _translator("monet2photo-lite"), "stargan-monet-lite": _stylist("photo")},
        ),
    ]


def read(folder: Path, count: int) -> list[Picture]:
    """The first pictures of a folder as squares."""
    return [_square(Image.open(path).convert("RGB")) for path in list_pictures(folder)[:count]]


def sample_photo() -> Picture:
    """The photo of the documentation as a square."""
    return _square(Image.open(PHOTO).convert("RGB"))


def _square(image: Image.Image, side: int = SIDE) -> Picture:
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def _print(direction: Direction, weights: Path) -> None:
    judge = Judge(direction)
    print(f"| **{direction.title}** | | | | |")
    judge.row("as they are", direction.sources)
    for name, load in direction.models.items():
        judge.row(name, load(weights)(direction.sources, direction.real))
    judge.real_row()


class Judge:
    """Measures pictures against a domain, and against the sources that they were made from."""

    def __init__(self, direction: Direction) -> None:
        self._real = direction.real
        self._among, self._sources = look(direction.among), look(direction.sources)
        self._patches = PatchDistance(pixels.to_tensor(direction.among))
        self._away = self._patches.to(pixels.to_tensor(direction.sources))

    def row(self, name: str, made: list[Picture]) -> None:
        """Print the figures of as many pictures as there are sources, each made from one of them."""
        found = look(made)
        self._print(name, made, found, content(self._sources, found))

    def real_row(self) -> None:
        """Print the figures of real pictures. Their content loss, of unlike sources, is what can be lost at most."""
        lost = content(self._sources, self._sources.rolled())
        self._print("real ones, beside other pictures", self._real, look(self._real), lost)

    def _print(self, name: str, made: list[Picture], found: Seen, loss: float) -> None:
        left = self._patches.to(pixels.to_tensor(made)) / self._away
        print(f"| {name} | {len(made)} | {frechet(found, self._among):.1f} | {loss:.3f} | {left:.2f} |", flush=True)


def look(made: Sequence[Picture]) -> Seen:
    return seen(pixels.to_tensor(made), CPU)


def _translator(name: str) -> Callable[[Path], Translate]:
    def load(weights: Path) -> Translate:
        translator = Translator(Catalog(weights, Path("none")).get(name), ServingDevice("cpu"))
        return lambda sources, references: [translator([source])[0] for source in sources]

    return load


def _stylist(domain: str) -> Callable[[Path], Translate]:
    """Each source in the style of one real picture, at the model's own size, enlarged."""

    def load(weights: Path) -> Translate:
        model = Catalog(weights, Path("none")).get("stargan-monet-lite")
        stylist = Stylist(model, ServingDevice("cpu"))
        guide = StyleGuide(domain=model.card.domains.index(domain))

        def translate(source: Picture, reference: Picture) -> Picture:
            small = [_square(Image.fromarray(picture), model.card.image_size) for picture in (source, reference)]
            style = stylist.styles([guide], small[1:])
            return _square(Image.fromarray(stylist.generate(stylist.prepare(small[:1]), [0], style)[0]))

        return lambda sources, references: [translate(*pair) for pair in zip(sources, references, strict=True)]

    return load


def _by_example(weights: Path) -> Translate:
    painter = Painter(Catalog(weights, Path("none")).get("style-by-example"), ServingDevice("cpu"))
    painting = Painting(weights=[1.0])
    return lambda sources, references: [
        Brush(painter, painting, [reference])([source])[0]
        for source, reference in zip(sources, references, strict=True)
    ]


def sheet(file: Path, direction: Direction, name: str, folders: Sequence[Path]) -> None:
    """Draw held-out pictures in rows: themselves, and what the model of each folder makes of them."""
    sources, references = (spread(found, SHOWN) for found in (direction.sources, direction.real))
    draw(file, [sources, *(direction.models[name](weights)(sources, references) for weights in folders)])


def styles(file: Path, folder: Path, weights: Path) -> None:
    """Draw held-out paintings in a row, and below each the photo of the documentation in its style."""
    paintings = spread(read(folder / "testA", PAINTINGS), STYLES)
    photo = sample_photo()
    draw(file, [[photo, *paintings], [photo, *_stylist("painting")(weights)([photo] * STYLES, paintings)]])


def draw(file: Path, rows: list[list[Picture]]) -> None:
    """Write rows of pictures, one below another, as one picture."""
    small = [[_square(Image.fromarray(picture), SHOWN_SIDE) for picture in row] for row in rows]
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in small])).save(file, quality=70)


def spread(found: list[Picture], count: int) -> list[Picture]:
    """So many of the pictures, from all parts of the list."""
    return [found[n * len(found) // count] for n in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--before", type=Path, help="the models to compare with, on a sheet")
    parser.add_argument("--sheet", type=Path, help="a picture file; {name} and the model's name become part of it")
    parser.add_argument("--styles", type=Path, help="a picture file")
    arguments = parser.parse_args()
    if arguments.styles:
        styles(arguments.styles, arguments.folder, arguments.weights)
        return
    if arguments.sheet is None:
        pictures(arguments.folder, arguments.weights)
        return
    folders = [folder for folder in (arguments.before, arguments.weights) if folder is not None]
    for direction in directions(arguments.folder):
        name = next(iter(direction.models))
        sheet(Path(str(arguments.sheet).replace("{name}", name)), direction, name, folders)


if __name__ == "__main__":
    main()
