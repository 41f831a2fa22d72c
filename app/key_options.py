"""The options of ``doppel key new``."""

import argparse

LIMITS = ("rate", "burst", "jobs", "runs")


def add_key_options(parser: argparse.ArgumentParser) -> None:
    """Add the action ``new`` to the parser of ``doppel key``."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    new = actions.add_parser("new", help="draw a key; print it, and its line for the file DOPPEL_API_KEYS_FILE")
    new.add_argument("name", metavar="NAME", help="its name; what is made with the key belongs to it")
    new.add_argument(
        "--scope", action="append", help="translate (the default), train, monitor or admin; may be given several times"
    )
    new.add_argument("--rate", help="most requests, such as 60/min or 5/s")
    new.add_argument("--burst", help="most of them at once; default: the number that the rate has")
    new.add_argument("--jobs", help="most jobs in hand at a time")
    new.add_argument("--runs", help="most training runs in hand at a time")
