"""Files that appear whole, locks that end with their process, folders that vanish at once, and full disks. No torch."""

import contextlib
import errno
import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from models.errors import PlaceError

STALE_S = 24 * 3600

_HIDDEN = ".removed-"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that takes its place when the block ends, and is removed if the block fails.

    Readers see the old file or the new one, never half of it. Two writers don't disturb each other.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def require_writable(folder: Path, setting: str) -> None:
    """Make ``folder`` if it is missing, and see that files can be written to it.

    Args:
        setting: the environment variable that names it.

    Raises:
        PlaceError: it can't be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror
        raise PlaceError(
            f"cannot write to the folder {folder} ({why}); set {setting} to one that can be written to"
        ) from error


def replace_text(target: Path, text: str) -> None:
    """Write a text file so that readers see the old content or the new."""
    with replacing(target) as part:
        part.write_text(text)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file at ``path``; wait for whoever holds it now. It ends with the process."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full(error: OSError) -> bool:
    """Whether the error means that the disk, or the user's share of it, is full, or that it can't be written to."""
    return error.errno in _NO_ROOM


def hide(path: Path) -> Path:
    """Rename a folder so that nobody finds it by its name any more; returns its path now, in the same folder.

    Raises:
        FileNotFoundError: it is not there.
    """
    hidden = path.with_name(f"{_HIDDEN}{uuid4().hex}")
    path.rename(hidden)
    return hidden


def remove(path: Path) -> None:
    """Remove a folder with all that is in it; it vanishes at once, whole.

    Raises:
        FileNotFoundError: it is not there.
    """
    shutil.rmtree(hide(path), ignore_errors=True)


def sweep(root: Path, *, also: str | None = None) -> None:
    """Finish the removals in ``root`` that a killed process left behind.

    Args:
        also: a pattern of further names in ``root`` that are removed once nothing has changed them for ``STALE_S``.
    """
    for left in (*root.glob(f"{_HIDDEN}*"), *(root.glob(also) if also else ())):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - left.lstat().st_ctime > STALE_S:  # renaming sets it, unlike the time of modification
                shutil.rmtree(left, ignore_errors=True)
