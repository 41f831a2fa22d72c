"""The options of ``doppel train``, for every process that parses the command line. Loads neither numpy nor Pillow."""

import argparse
from typing import Any

from models.command_line import Arguments
from models.store.options import CycleGANOptions, StarGANOptions

Kind = type[CycleGANOptions] | type[StarGANOptions]

FAMILIES: dict[str, Kind] = {"cyclegan": CycleGANOptions, "stargan": StarGANOptions}


def options_of(family: str, parser: argparse.ArgumentParser) -> Arguments[Any]:
    """Add the options of a family's runs to its parser."""
    return Arguments(parser, FAMILIES[family], exclude=("dataset", "family"))
