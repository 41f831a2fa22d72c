"""A run's status.json: its state, progress, losses and alarms. Loads no torch."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError, computed_field

from models.errors import RunFolderError
from models.store.files import replace_text

STATUS_FILE = "status.json"
# The figures that decide which checkpoint is the best: the highest wins, by features wherever they were measured.
FEATURE_SCORE = "Lite0 score"
SCORE = "score"

AlarmKind = Literal["not finite", "colour inversion", "collapse", "discriminator wins", "disk", "unreadable picture"]
REMEDIES: dict[AlarmKind, str] = {
    "not finite": "Start again with a smaller learning rate.",
    "colour inversion": "Start again with another seed. If it happens again, set identity_steps, or raise "
    "lambda_identity.",
    "collapse": "Stop the run. Start again with a smaller learning rate or more pictures; for a StarGAN v2, raise "
    "lambda_ds.",
    "discriminator wins": "Stop the run. Start again with more pictures or a smaller discriminator (ndf).",
    "disk": "Free some space on the server, then resume the run.",
    "unreadable picture": "The run goes on without it. Replace the file before the next run.",
}


class RunState(StrEnum):
    """Queued, running, then one of the last three. All but a succeeded run can be resumed (docs/run-life.md)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)


class Alarm(BaseModel):
    """A problem with a run that a person should look at."""

    kind: AlarmKind
    subject: str = ""  # what it is about, such as a direction; there is one alarm for each kind and subject
    step: int  # of the first occurrence
    detail: str

    @computed_field(description="what a person can do about it")  # type: ignore[prop-decorator]
    @property
    def help(self) -> str:
        """What a person can do about it."""
        return REMEDIES[self.kind]


class Quality(BaseModel):
    """Measurements on held-out pictures."""

    step: int
    figures: dict[str, float]  # lower is better, except for the scores and the diversity LPIPS
    not_available: dict[str, str] = {}  # figure → reason


def best_measured(quality: Sequence[Quality]) -> int | None:
    """The step of the best of these checkpoints; None if none has a score.

    If some were measured by features and others not, the best is one of those that were.
    """
    for name in (FEATURE_SCORE, SCORE):
        scores = {one.step: one.figures[name] for one in quality if name in one.figures}
        if scores:
            return max(scores, key=lambda step: scores[step])
    return None


class RunStatus(BaseModel):
    """All that is known about a run besides its options, metrics and files."""

    status: RunState = RunState.QUEUED
    dataset: str = ""  # name; empty for runs started outside the service
    dataset_fingerprint: str | None = None
    family: str = ""
    init_from: str | None = None  # name of the model it starts from
    comparison: str | None = None  # id of the comparison it belongs to
    owner: str | None = None  # the name of the API key that started it
    created_at: datetime
    started_at: datetime | None = None  # of the current or last attempt
    finished_at: datetime | None = None
    updated_at: datetime
    attempts: int = 0  # how often it was queued by a person; each attempt is a job of its own
    step: int = 0
    total_steps: int = 0
    gflop_per_step: float | None = None  # estimated, of runs that a service started
    disk_mb: int | None = None  # that its checkpoints will take at most, estimated, in MiB
    images_per_s: float | None = None
    eta_s: float | None = None
    learning_rate: float | None = None
    lambda_ds: float | None = None
    losses: dict[str, float] = {}  # at the last step
    smoothed: dict[str, float] = {}  # exponential moving averages
    gpu_memory_mb: float | None = None  # peak
    parameters: dict[str, int] = {}  # network → number of parameters
    domains: list[str] = []
    device: str | None = None
    last_checkpoint: int | None = None
    best_checkpoint: int | None = None  # by its score, see best_measured
    alarms: list[Alarm] = []
    quality: list[Quality] = []
    error: str | None = None


def now() -> datetime:
    return datetime.now(UTC)


def read_status(folder: Path) -> RunStatus | None:
    """The run's status; None if none was written yet.

    Raises:
        RunFolderError: the file is damaged or was written by another version.
    """
    try:
        return RunStatus.model_validate_json((folder / STATUS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunFolderError(f"The {STATUS_FILE} of the run {folder.name} cannot be understood: {error}") from error


def write_status(folder: Path, status: RunStatus) -> None:
    """Replace the run's status. Readers see the old one or the new one."""
    status.updated_at = now()
    replace_text(folder / STATUS_FILE, status.model_dump_json(indent=1))
