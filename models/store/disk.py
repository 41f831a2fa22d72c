"""Room for what is written: free space on the disk, and the most that all that is stored may take."""

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from models.errors import StoreFull

STORES = ("datasets", "runs", "models", "versions")  # the folders of a data folder that what is stored lies in


def require_free(folder: Path, nbytes: int) -> None:
    """Check that the disk of ``folder``, or of the nearest folder above it that is there, has room for ``nbytes``.

    Raises:
        OSError: with ``ENOSPC``, as writing would raise in the middle.
    """
    free = _free(folder)
    if free < nbytes:
        raise OSError(
            errno.ENOSPC, f"{free / 2**20:,.1f} MiB are free, {nbytes / 2**20:,.1f} MiB are needed", str(folder)
        )


def _free(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def stored_bytes(folder: Path) -> int:
    """The size of all files in a folder and below it, which may change meanwhile; 0 if it is not there."""
    nbytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                nbytes += os.lstat(os.path.join(parent, name)).st_size
    return nbytes


@dataclass(frozen=True)
class Room:
    """The room for data sets, runs and models.

    Attributes:
        data_dir: the folder that they are in.
        reserved_bytes: that have to stay free on the disk.
        most_bytes: that they may take together; None: all there is.
    """

    data_dir: Path
    reserved_bytes: int = 0
    most_bytes: int | None = None

    def require_disk(self, nbytes: int = 0) -> None:
        """Check that there is disk for ``nbytes`` beside what is reserved, whatever is stored.

        Raises:
            OSError: the disk is full.
        """
        require_free(self.data_dir, nbytes + self.reserved_bytes)

    def require(self, nbytes: int = 0) -> None:
        """Check that there is room for ``nbytes`` more. It looks at all files that are stored, if there is a quota.

        Raises:
            OSError: the disk is full.
            StoreFull: they would take too much.
        """
        self.require_disk(nbytes)
        if self.most_bytes is not None and (taken := self._taken()) + nbytes > self.most_bytes:
            raise StoreFull(
                f"Data sets, runs and models take {taken >> 20:,} MiB, and {nbytes / 2**20:,.1f} MiB more are needed; "
                f"{self.most_bytes >> 20:,} MiB are allowed (DOPPEL_MAX_STORE_MB). Remove some that are not needed."
            )

    def left(self) -> int:
        """How many bytes more there is room for."""
        left = _free(self.data_dir) - self.reserved_bytes
        if self.most_bytes is not None:
            left = min(left, self.most_bytes - self._taken())
        return max(0, left)

    def _taken(self) -> int:
        return sum(stored_bytes(self.data_dir / name) for name in STORES)


class Ballast:
    """A file whose only use is that it can be deleted when the disk is full, so that what must go on has some room.

    Args:
        path: of the file.
        nbytes: its size.
    """

    def __init__(self, path: Path, nbytes: int) -> None:
        self._path = path
        self._nbytes = nbytes

    def drop(self) -> None:
        """Delete the file, if it is there."""
        self._path.unlink(missing_ok=True)

    def adjust(self) -> None:
        """Make the file while there is plenty of room, and delete it when there is none."""
        free = shutil.disk_usage(self._path.parent).free
        if free < self._nbytes // 2:
            self.drop()
        elif free > 16 * self._nbytes and not self._path.exists() and hasattr(os, "posix_fallocate"):
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._nbytes)
