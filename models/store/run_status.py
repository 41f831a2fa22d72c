"""What a run says of itself while it runs and afterwards: its status.json. Loads no torch."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from models.errors import RunBusy, RunFolderError

STATUS_FILE = "status.json"
STOP_FILE = "stop"  # there while someone wants the run stopped
LOCK_FILE = "lock"  # held by the process that trains
LET_GO_S = 5  # that a process which was killed may take to be gone, with all that it held

AlarmKind = Literal["not finite", "colour inversion", "collapse", "discriminator wins", "disk"]


class RunState(StrEnum):
    """A run's life: queued, running, then one of the last three; all but a succeeded run can be resumed."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)


class Alarm(BaseModel):
    """Something about a run that a person should look at."""

    kind: AlarmKind
    subject: str = ""  # what it is about, such as a direction; there is one alarm for each kind and subject
    step: int  # at which it was first seen
    detail: str


class Quality(BaseModel):
    """What was measured on held-out pictures."""

    step: int
    figures: dict[str, float]  # lower is better, but for the diversity LPIPS
    not_available: dict[str, str] = {}  # figure → why


class RunStatus(BaseModel):
    """All that is known of a run besides its options, metrics and files."""

    status: RunState = RunState.QUEUED
    dataset: str = ""  # name, of runs that a service started
    dataset_fingerprint: str | None = None
    family: str = ""
    init_from: str | None = None  # name of a model
    comparison: str | None = None  # id, of a run that is one of several
    created_at: datetime
    started_at: datetime | None = None  # of the attempt under way or last made
    finished_at: datetime | None = None
    updated_at: datetime
    attempts: int = 0  # that were queued; each is a job of its own
    step: int = 0
    total_steps: int = 0
    gflop_per_step: float | None = None  # estimated, of runs that a service started
    images_per_s: float | None = None
    eta_s: float | None = None
    learning_rate: float | None = None
    lambda_ds: float | None = None
    losses: dict[str, float] = {}  # of the last step
    smoothed: dict[str, float] = {}  # exponential moving averages
    gpu_memory_mb: float | None = None  # most that was allocated
    parameters: dict[str, int] = {}  # of each network
    domains: list[str] = []
    device: str | None = None
    last_checkpoint: int | None = None
    best_checkpoint: int | None = None  # by the first figure of quality
    alarms: list[Alarm] = []
    quality: list[Quality] = []
    error: str | None = None


def now() -> datetime:
    return datetime.now(UTC)


def read_status(folder: Path) -> RunStatus | None:
    """The run's status; None if it has none yet.

    Raises:
        RunFolderError: it is damaged, or of another version.
    """
    try:
        return RunStatus.model_validate_json((folder / STATUS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunFolderError(f"The {STATUS_FILE} of the run {folder.name} cannot be understood: {error}") from error


def write_status(folder: Path, status: RunStatus) -> None:
    """Replace the run's status; readers see the old one or the new one."""
    status.updated_at = now()
    part = folder / f".{STATUS_FILE}.{uuid4().hex}"
    try:
        part.write_text(status.model_dump_json(indent=1))
        part.replace(folder / STATUS_FILE)
    finally:
        part.unlink(missing_ok=True)


def is_held(folder: Path) -> bool:
    """Whether a process trains in the folder now, as the system knows it, however it may end."""
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def let_go(folder: Path) -> bool:
    """Wait for a process that trains in the folder and is about to end; False if it does not."""
    deadline = time.monotonic() + LET_GO_S
    while is_held(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the one process that trains in the folder.

    Raises:
        RunBusy: another one is, and not only looks or is about to end.
    """
    deadline = time.monotonic() + LET_GO_S
    with (folder / LOCK_FILE).open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RunBusy(f"{folder} is being trained in by another process") from None
                time.sleep(0.01)
        yield
