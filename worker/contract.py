"""Everything that crosses Redis, as typed JSON; both ends of the queue agree on this file alone."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, computed_field

QUEUE = "doppel-inference"
TRANSLATE = "worker.batch_worker.translate"  # the one function name that a worker takes from the queue
TRAINING_QUEUE = "doppel-training"
TRAIN = "worker.training_process.train"  # the one function name that a trainer takes from its queue
PREPARATION_QUEUE = "doppel-preparation"
IMPORT = "worker.dataset_import.import_dataset"  # the one function name that a preparer takes from that queue
ESTIMATE_QUEUE = "doppel-estimates"
ESTIMATE = "worker.estimation.estimate"  # the one function name that a preparer takes from that queue
PREPARERS = "doppel:preparers"  # hash of worker name → PreparerReport
JOB_QUEUES = (QUEUE, PREPARATION_QUEUE)  # whose jobs clients see as jobs
TRAINERS = "doppel:trainers"  # hash of trainer name → TrainerReport
EVENTS = "doppel:events"  # channel of JobEvent
WORKERS = "doppel:workers"  # hash of worker name → WorkerReport
WANTED = "doppel:wanted"  # set of model names whose weights someone asked for
CLAIMS = "doppel:claims"  # hash of long job → bytes that its result will take
JANITOR_LOCK = "doppel:janitor"

Kind = Literal["translation", "style", "grid", "video", "dataset"]
LONG_KINDS = ("grid", "video")  # run in pieces, between which other jobs pass

MAX_TRIES = 3  # of a job whose worker died
FACE_SIDE = 512  # px of a cut-out face that the worker is to align
FACE_MARGIN = 2.4  # its side in widths of the face
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


class StyleGuide(BaseModel):
    """What a StarGAN model makes of a picture: a domain, and a seed, a latent code or a style code.

    With none of the three the reference picture guides, which travels behind the source.
    """

    domain: int  # its place among the model's domains
    psi: float = 1.0  # truncation of latent codes
    seed: int | None = None
    latent: list[float] | None = None
    style: list[float] | None = None

    @property
    def by_reference(self) -> bool:
        return self.seed is None and self.latent is None and self.style is None


class Task(BaseModel):
    """A piece of work as the worker sees it.

    Its pictures travel beside it (see pictures.py): the sources, then a reference for each guide that needs one.
    """

    kind: Kind = "translation"
    model: str  # that runs, which may be the fallback of the one asked for
    height: int  # px, of the pictures that come out
    width: int  # px
    sources: int = 1
    guides: list[StyleGuide] = []  # of StarGAN: one; of a grid one a row, of a video one a stop
    frames: int = 0  # of a video, from one style to the next
    align: bool = False  # its pictures are cut-out faces, to be aligned first

    @property
    def cells(self) -> int:
        """How many pictures the generator makes for it."""
        if self.kind == "video":
            return self.sources * ((len(self.guides) - 1) * self.frames + 1)
        return self.sources * len(self.guides) if self.kind == "grid" else 1

    @property
    def result_bytes(self) -> int:
        """Of the pictures that the generator makes for it, before compression."""
        return self.cells * self.height * self.width * 3

    @property
    def batch_key(self) -> str:
        """Jobs with equal keys can run in one batch."""
        return f"{self.model}/{self.kind}{'/align' if self.align else ''}/{self.height}x{self.width}"


class Layout(BaseModel):
    """How a result of several pictures is to be laid out.

    A grid's pictures are its sources, its references, then row after row, one row for each style. A video's are its
    frames, each of one picture for each source.
    """

    sources: int
    references: int = 0
    fps: int = 0  # frames a second, of a video


class FailureCode(StrEnum):
    """Why a job or a training run failed, for programs. Clients see these values: they may be added to, not changed."""

    ARCHIVE_REFUSED = "archive_refused"  # an uploaded archive holds no data set that can be used
    NAME_TAKEN = "name_taken"  # another upload took the data set's name first
    IMPORT_FAILED = "import_failed"  # an upload could not be imported, through no fault of its own
    CANNOT_BE_DONE = "cannot_be_done"  # no worker could do this job
    MODEL_REMOVED = "model_removed"  # the model went out of service while the job waited
    TRANSLATION_FAILED = "translation_failed"  # an unexpected error; the worker's log has the traceback
    WORKER_DIED = "worker_died"  # as often as a job is tried
    TRAINING_FAILED = "training_failed"


class Failure(BaseModel):
    """Why a job or a training run failed: ``code`` for programs, ``title`` and ``detail`` for people."""

    code: FailureCode
    detail: str

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator above @property
    @property
    def title(self) -> str:
        return self.code.replace("_", " ")


class Timings(BaseModel):
    """Milliseconds that a job spent in each stage; None before the stage is over."""

    decode_ms: float | None = None
    queue_ms: float | None = None
    inference_ms: float | None = None


class JobMeta(BaseModel):
    """What is stored with a job besides RQ's own fields."""

    kind: Kind = "translation"
    model: str
    timings: Timings = Timings()
    style: list[float] | None = None  # the result of a job of kind style
    layout: Layout | None = None  # of the result of a grid or a video
    done: float = 0.0  # 0 to 1, of a long job
    notes: list[str] = []  # what was done with its pictures that their owner should know
    dataset: str | None = None  # name of the one that a job of kind dataset makes
    final: bool = False  # it is about to end and can no longer be canceled
    error: Failure | None = None


class JobState(BaseModel):
    """A job as anyone may see it."""

    id: str
    kind: Kind
    model: str
    status: Status
    position: int | None = None  # jobs ahead of it, while queued
    progress: float  # 0 to 1
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    timings: Timings
    style: list[float] | None = None
    layout: Layout | None = None
    notes: list[str] = []
    dataset: str | None = None
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
