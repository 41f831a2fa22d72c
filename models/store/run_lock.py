"""The lock of a run folder, held by the one process that trains in it. It ends with that process. Loads no torch."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from models.errors import RunBusy

LOCK_FILE = "lock"
UNLOCK_WAIT_S = 5  # a process that was killed may take so long to be gone
POLL_S = 0.02


@contextlib.contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Waits up to ``UNLOCK_WAIT_S`` for a process that is about to end.

    Raises:
        RunBusy: another process trains in the folder.
    """
    deadline = time.monotonic() + UNLOCK_WAIT_S
    with (folder / LOCK_FILE).open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RunBusy(f"The run {folder.name} is being trained in by another process") from None
                time.sleep(POLL_S)
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process trains in the folder now."""
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def wait_until_unlocked(folder: Path) -> bool:
    """Wait up to ``UNLOCK_WAIT_S`` for the folder's lock to be free; False if it still is not."""
    deadline = time.monotonic() + UNLOCK_WAIT_S
    while is_locked(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
