"""The options of ``doppel train``, for every process that parses the command line. Loads neither numpy nor Pillow."""

import argparse
from typing import Any

from models.command_line import Arguments
from models.store.cut_options import CUTOptions
from models.store.options import CycleGANOptions, Options, StarGANOptions

FAMILIES: dict[str, type[Options]] = {"cyclegan": CycleGANOptions, "cut": CUTOptions, "stargan": StarGANOptions}


def options_of(family: str, parser: argparse.ArgumentParser) -> Arguments[Any]:
    """Add the options of a family's runs to its parser."""
    return Arguments(parser, FAMILIES[family], exclude=("dataset", "family"))
