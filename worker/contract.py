"""Everything that crosses Redis, as typed JSON; both ends of the queue agree on this file alone."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel

QUEUE = "doppel-inference"
TRANSLATE = "worker.inference.translate"  # the one function name that a worker takes from the queue
EVENTS = "doppel:events"  # channel of JobEvent
WORKERS = "doppel:workers"  # hash of worker name → WorkerReport
WANTED = "doppel:wanted"  # set of model names whose weights someone asked for
JANITOR_LOCK = "doppel:janitor"

MAX_TRIES = 3  # of a job whose worker died
LEASE_S = 6  # a job is its worker's for so long after each heartbeat
HEARTBEAT_S = 2
SWEEP_S = 1  # the janitor's period


class Status(StrEnum):
    """A job's life: queued, running, then one of the last three for good."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        return self not in (Status.QUEUED, Status.RUNNING)


class TranslationTask(BaseModel):
    """A translation as the worker sees it. The picture itself travels beside it (see pictures.py)."""

    model: str  # that runs, which may be the fallback of the one asked for
    height: int  # px
    width: int  # px

    @property
    def batch_key(self) -> str:
        """Jobs with equal keys can run in one batch."""
        return f"{self.model}/{self.height}x{self.width}"


class Failure(BaseModel):
    """Why a job failed, for a person."""

    title: str
    detail: str


class Timings(BaseModel):
    """Milliseconds that a job spent in each stage; None before the stage is over."""

    decode_ms: float | None = None
    queue_ms: float | None = None
    inference_ms: float | None = None


class JobMeta(BaseModel):
    """What is stored with a job besides RQ's own fields."""

    kind: Literal["translation"] = "translation"
    model: str
    timings: Timings = Timings()
    error: Failure | None = None


class JobState(BaseModel):
    """A job as anyone may see it."""

    id: str
    kind: str
    model: str
    status: Status
    position: int | None = None  # jobs ahead of it, while queued
    progress: float  # 0 to 1
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    timings: Timings
    error: Failure | None = None


class JobEvent(BaseModel):
    """Published on EVENTS whenever a job's status changes."""

    id: str
    status: Status
    timings: Timings = Timings()
    error: Failure | None = None


class WorkerReport(BaseModel):
    """What a worker says of itself with each heartbeat."""

    name: str
    pid: int
    host: str
    device: str
    loaded: list[str]  # models in memory, most recently used last
    seen_at: float  # Unix time, seconds
