"""Folders that vanish at once, whole, though removing their files takes time. Loads no torch."""

import contextlib
import shutil
import time
from pathlib import Path
from uuid import uuid4

STALE_S = 24 * 3600

_HIDDEN = ".removed-"


def hide(path: Path) -> Path:
    """Take a folder out of sight of those who look for it by name; where it is now, beside its place.

    Raises:
        FileNotFoundError: it is not there.
    """
    hidden = path.with_name(f"{_HIDDEN}{uuid4().hex}")
    path.rename(hidden)
    return hidden


def remove(path: Path) -> None:
    """Take a folder away with all that is in it.

    Raises:
        FileNotFoundError: it is not there.
    """
    shutil.rmtree(hide(path), ignore_errors=True)


def sweep(root: Path, *, also: str | None = None) -> None:
    """Remove what has been out of sight in ``root`` for long: the process that was removing it was killed.

    Args:
        also: a pattern of other names in ``root`` that nobody works on for so long.
    """
    for left in (*root.glob(f"{_HIDDEN}*"), *(root.glob(also) if also else ())):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - left.lstat().st_ctime > STALE_S:  # renaming sets it, unlike the time of modification
                shutil.rmtree(left, ignore_errors=True)
