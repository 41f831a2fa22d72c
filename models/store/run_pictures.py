"""The pictures that a run trains on: recorded when it begins, compared when it goes on, wherever they are by then.

Loads no torch.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from models.errors import DatasetError
from models.store.datasets import ListedPicture, fingerprint_of, listing
from models.store.files import replace_text

PICTURES_FILE = "pictures.json"  # path in the data set → bytes
NAMED = 3  # files of each kind of difference that a message names


def record_pictures(run: Path, dataset: Path) -> str:
    """Write into a run's folder which pictures it trains on, and return their fingerprint.

    Raises:
        FileNotFoundError: a picture was removed meanwhile.
    """
    listed = listing(dataset)
    replace_text(run / PICTURES_FILE, json.dumps(_sizes(listed), indent=0))
    return fingerprint_of(listed)


def check_pictures(run: Path, begun_with: str | None, dataset: Path) -> None:
    """Check that a data set holds the pictures that a run began with. Where it is does not matter.

    Args:
        run: the run's folder.
        begun_with: their fingerprint; None if it is not known, which passes.

    Raises:
        DatasetError: they differ; the message says how.
    """
    if begun_with is None:
        return
    try:
        listed = listing(dataset)
    except FileNotFoundError as error:
        raise DatasetError(f"Pictures of {dataset.name} were removed while they were read; try again.") from error
    if fingerprint_of(listed) == begun_with:
        return
    differences = ""
    with contextlib.suppress(OSError, ValueError):  # a run of an earlier version has no such file
        differences = _differences(json.loads((run / PICTURES_FILE).read_text()), _sizes(listed))
    raise DatasetError(
        f"The pictures in {dataset.name} are not those that the run began with{differences}. So it cannot be resumed "
        "exactly; start a new run from its last checkpoint with init_from."
    )


def _sizes(listed: Sequence[ListedPicture]) -> dict[str, int]:
    return {picture.path: picture.nbytes for picture in listed}


def _differences(then: dict[str, int], now: dict[str, int]) -> str:
    """ ": a.png is missing; b.png and 2 others are new"; empty if there is none."""
    kinds = (
        ([path for path in then if path not in now], "missing"),
        ([path for path in now if path not in then], "new"),
        ([path for path in then if path in now and then[path] != now[path]], "of another size"),
    )
    parts = [f"{_listed(paths)} {'is' if len(paths) == 1 else 'are'} {what}" for paths, what in kinds if paths]
    return f": {'; '.join(parts)}" if parts else ""


def _listed(paths: Sequence[str]) -> str:
    if len(paths) > NAMED:
        return f"{', '.join(paths[:NAMED])} and {len(paths) - NAMED} others"
    return ", ".join(paths)
