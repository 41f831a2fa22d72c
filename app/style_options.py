"""The options of `doppel translate` that say how a picture is painted. Loads nothing that computes."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STYLE_DEFAULT = "style-by-example"  # the model that paints in the style of any picture
STROKES = (0.25, 4.0)


@dataclass(frozen=True)
class StyleOptions:
    """The options as they were given; None and empty: they were not."""

    pictures: tuple[Path, ...] = ()  # whose style is applied
    weights: str = ""  # one for each picture, as a JSON list
    strength: float | None = None
    stroke: float | None = None
    preserve_color: bool = False

    @property
    def given(self) -> list[str]:
        """The names of those that were given."""
        values = {
            "--style": self.pictures,
            "--weights": self.weights,
            "--strength": self.strength is not None,
            "--stroke": self.stroke is not None,
            "--preserve-color": self.preserve_color,
        }
        return [name for name, value in values.items() if value]


def add_style_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    group = parser.add_argument_group("style", "for models that paint in a style, see docs/styles.md")
    group.add_argument(
        "--style",
        action="append",
        default=[],
        type=Path,
        metavar="PICTURE",
        help="paint in the style of this picture; given several times, the styles are mixed",
    )
    group.add_argument("--weights", metavar="W,W", type=_weights, help="how much of each style, as 2,1")
    group.add_argument("--strength", type=_between(0, 1), metavar="0..1", help="of the style; default: 1, all of it")
    group.add_argument(
        "--stroke",
        type=_between(*STROKES),
        metavar="SIZE",
        help="size of the strokes: 2 is twice as coarse, 0.5 half as coarse",
    )
    group.add_argument("--preserve-color", action="store_true", help="keep the photo's colours")


def style_options(parsed: argparse.Namespace) -> StyleOptions:
    """The options in the parsed arguments of a command."""
    return StyleOptions(
        tuple(parsed.style), parsed.weights or "", parsed.strength, parsed.stroke, parsed.preserve_color
    )


def _between(least: float, most: float) -> Callable[[str], float]:
    def number(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            parsed = float("nan")
        if not least <= parsed <= most:
            raise argparse.ArgumentTypeError(f"{value} is no number from {least:g} to {most:g}")
        return parsed

    return number


def _weights(value: str) -> str:
    try:
        return json.dumps([float(part) for part in value.split(",")])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value} is no list of numbers, as 2,1") from None
