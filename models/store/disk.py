"""Free space, looked at before something large is written."""

import errno
import os
import shutil
from pathlib import Path


def require_free(folder: Path, nbytes: int) -> None:
    """Check that the disk of ``folder``, or of the nearest folder above it that is there, has room for ``nbytes``.

    Raises:
        OSError: with ``ENOSPC``, as writing would raise in the middle.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise OSError(errno.ENOSPC, f"{free >> 20:,} MiB are free, {nbytes >> 20:,} MiB are needed", str(folder))


class Ballast:
    """A file whose only use is that it can be deleted when the disk is full, so that what must go on has some room.

    Args:
        path: of the file.
        nbytes: its size.
    """

    def __init__(self, path: Path, nbytes: int) -> None:
        self._path = path
        self._nbytes = nbytes

    def adjust(self) -> None:
        """Make the file while there is plenty of room, and delete it when there is none."""
        free = shutil.disk_usage(self._path.parent).free
        if free < self._nbytes // 2:
            self._path.unlink(missing_ok=True)
        elif free > 16 * self._nbytes and not self._path.exists() and hasattr(os, "posix_fallocate"):
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._nbytes)
