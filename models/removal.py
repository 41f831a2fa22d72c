"""Folders that vanish at once, whole, though removing their files takes time. Loads no torch."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

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


def left_over(root: Path) -> Iterator[Path]:
    """What is out of sight in ``root`` and still there: its removal is under way, or its process was killed."""
    return root.glob(f"{_HIDDEN}*")
