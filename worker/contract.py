"""Everything that crosses Redis, as typed JSON. Both ends of the queue share this file and nothing else."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from models.provenance.origin import Origin
from models.serving.painting import Painting
from models.serving.style_guide import StyleGuide

INFERENCE_QUEUE = "doppel-inference"
RUN_TASK = "run-task"  # the function name of every inference job; a worker refuses any other and imports none
TRAINING_QUEUE = "doppel-training"
TRAIN = "train"  # the function name of every attempt at a training run
PREPARATION_QUEUE = "doppel-preparation"
IMPORT = "worker.dataset_import.import_dataset"  # the function name of every import of a data set
ADD_MODEL = "worker.model_import.import_model"  # the function name of every addition of a model
FETCH_QUEUE = "doppel-fetches"
FETCH_MODEL = "worker.model_fetch.fetch_model"  # the function name of every download of a model's weights
ESTIMATE_QUEUE = "doppel-estimates"
ESTIMATE = "worker.estimation.estimate"  # the function name of every estimate
JOB_QUEUES = (INFERENCE_QUEUE, PREPARATION_QUEUE, FETCH_QUEUE)  # clients can look up the jobs of these

WORKERS = "doppel:workers"  # hash of inference worker name → WorkerReport
TRAINERS = "doppel:trainers"  # hash of trainer name → TrainerReport
PREPARERS = "doppel:preparers"  # hash of preparer name → PreparerReport
EVENTS = "doppel:events"  # channel of JobEvent
FETCHES = "doppel:fetches"  # hash of model → id of the newest job that fetches its weights
# And a client's name, or an API key's name, a colon, and its client's or nothing: sorted set of the ids of its jobs by
# the Unix time at which they were queued.
JOBS_OF = "doppel:jobs-of:"
REQUESTS = "doppel:requests:"  # and the hash of a client's key: what was made of the request, see request_keys.py
TURNS = "doppel:turns"  # hash of whose turn it is in the inference queue, see fair_order.py
CLAIMS = "doppel:claims"  # hash of long job id → bytes reserved for its result
JANITOR_LOCK = "doppel:janitor"
RATES = "doppel:rate:"  # and the name of an API key: when its requests are paid for, see rates.py
IN_HAND = "doppel:in-hand:"  # and of what, and the name of an API key: sorted set of ids, see allowances.py
HOOKS = "doppel:hooks"  # hash of message id → Hook (worker/webhooks.py)
HOOKS_DUE = "doppel:hooks:due"  # sorted set of their ids by the Unix time at which to look at them again
METERS = "doppel:meters"  # hash of what is counted → how much (worker/meters.py)

Kind = Literal["translation", "style", "grid", "video", "clip", "dataset", "model", "fetch"]
LONG_KINDS = ("grid", "video")  # of many pictures; always run in steps

FILMED_PIXELS_PER_BYTE = 8  # of a clip that is written as H.264; brushwork takes many bytes
WORK_PIXELS = 128 * 128  # that are one unit of work
MAX_RESULT_BYTES = 96 << 20  # of all pictures of a grid or a video, uncompressed; Redis keeps a result for a while
MAX_ONE_RESULT_BYTES = 2 << 30  # of one picture, which settings bound to far less, or of a film
MAX_SIDE = 1 << 16  # px
MAX_DELIVERED_SIDE = 1 << 14  # px, of the answer
MAX_TRIES = 3  # attempts at a job whose worker dies each time
FACE_SIDE = 512  # px, side of a cut-out face as the worker gets it
FACE_MARGIN = 2.4  # side of the cut-out, in widths of the face
LEASE_S = 6  # a worker owns a job for this long after each heartbeat
HEARTBEAT_S = 2
TRAINING_RETRY_AFTER_S = 600  # after a run was refused because of others
SWEEP_S = 1  # the janitor's period


class Status(StrEnum):
    """A job's status: queued, running, then one of the last three, which are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        return self not in (Status.QUEUED, Status.RUNNING)


class Filming(BaseModel):
    """What is made of a clip beside its frames, which are painted in the shape that the task says."""

    width: int  # px, of the frames that are written; even
    height: int
    frames: int  # as many as were counted in the clip
    max_frames: int  # that are accepted, should there be more than were counted
    max_pixels: int  # of a frame of the clip


class Task(BaseModel):
    """What a worker is to do.

    Its pictures are stored beside it (``picture_bytes.py``): the sources, then one reference for each guide that is by
    reference, or the style pictures of a painting. The source of kind ``clip`` is a video file, and so is the result
    (``file_bytes.py``).
    """

    kind: Kind = "translation"
    model: str  # the one that runs, which may be the fallback of the one that was asked for
    height: int  # px, of each generated picture
    width: int  # px
    sources: int = 1
    guides: list[StyleGuide] = []  # StarGAN v2 only: one; for a grid one per row, for a video one per stop
    painting: Painting | None = None  # of a model of the family style
    frames: int = 0  # video only: from one style to the next
    filming: Filming | None = None  # clip only
    align: bool = False  # the pictures are cut-out faces, to be aligned first
    tiled: bool = False  # a translation of a picture that is too large to be given to the model at once

    @property
    def long(self) -> bool:
        """Whether it runs in steps, between which short tasks may run."""
        return self.kind in LONG_KINDS or self.tiled or self.filming is not None

    @property
    def generated(self) -> int:
        """How many pictures the generator makes for this task."""
        if self.kind == "video":
            return self.sources * ((len(self.guides) - 1) * self.frames + 1)
        return self.sources * len(self.guides) if self.kind == "grid" else 1

    @property
    def result_bytes(self) -> int:
        """Size of the generated pictures, uncompressed; of a clip about as much as its file may take."""
        if self.filming is not None:
            return self.filming.frames * self.filming.height * self.filming.width // FILMED_PIXELS_PER_BYTE
        return self.generated * self.height * self.width * 3

    @property
    def work(self) -> int:
        """How much there is to do, as far as that can be told without knowing the model: by the pixels to be made."""
        pictures = self.generated if self.filming is None else self.filming.frames
        return 1 + pictures * self.height * self.width // WORK_PIXELS

    def require_bounded(self) -> None:
        """Refuse a task of absurd size. The API asks for none; this is for what somebody else wrote into Redis.

        Raises:
            ValueError
        """
        if min(self.height, self.width, self.sources) < 1 or max(self.height, self.width) > MAX_SIDE:
            raise ValueError(f"{self.sources} pictures of {self.width} x {self.height} px can't be made")
        most = MAX_RESULT_BYTES if self.kind in LONG_KINDS else MAX_ONE_RESULT_BYTES
        if self.frames < 0 or self.result_bytes > most:
            raise ValueError(f"its result would have {self.result_bytes:,} bytes, more than {most:,}")

    @property
    def batch_key(self) -> str:
        """Tasks with equal keys can run in one batch."""
        how = "/align" if self.align else "/tiled" if self.tiled else ""
        if self.painting is not None and self.painting.reduction != 1:
            how += f"/{self.painting.reduction:g}"
        return f"{self.model}/{self.kind}{how}/{self.height}x{self.width}"


class Arrangement(BaseModel):
    """How the pictures of a grid or a video are arranged.

    A grid's pictures are its sources, its references, then row after row, one row per style. A video's are its frames,
    each made of one picture per source.
    """

    sources: int = Field(ge=1)
    references: int = Field(0, ge=0)
    fps: int = Field(0, ge=0, le=1000)  # frames per second, of a video


class Delivery(BaseModel):
    """How each generated picture becomes what the client asked for: its upper left part is cut out, then resized."""

    model_config = ConfigDict(frozen=True)

    width: int = Field(ge=1, le=MAX_SIDE)  # px, of the part
    height: int = Field(ge=1, le=MAX_SIDE)
    out_width: int = Field(ge=1, le=MAX_DELIVERED_SIDE)  # px, of the answer
    out_height: int = Field(ge=1, le=MAX_DELIVERED_SIDE)


class FailureCode(StrEnum):
    """Why a job or a training run failed, for programs. Clients see these values: they may be added to, not changed."""

    ARCHIVE_REFUSED = "archive_refused"  # an uploaded archive holds no data set that can be used
    MODEL_REFUSED = "model_refused"  # an uploaded weights file or model can't be used
    CLIP_REFUSED = "clip_refused"  # an uploaded video is damaged somewhere behind its beginning
    NAME_TAKEN = "name_taken"  # another upload took the name first
    FETCH_FAILED = "fetch_failed"  # a model's weights could not be downloaded, or are not this model's
    IMPORT_FAILED = "import_failed"  # an upload could not be imported, through no fault of its own
    CANNOT_BE_DONE = "cannot_be_done"  # no worker could do this job
    MODEL_REMOVED = "model_removed"  # the model went out of service while the job waited
    TRANSLATION_FAILED = "translation_failed"  # an unexpected error; the worker's log has the traceback
    WORKER_DIED = "worker_died"  # as often as a job is tried
    OUT_OF_MEMORY = "out_of_memory"  # it takes more than a worker may have
    TIMED_OUT = "timed_out"  # it took longer than a job may
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
    """Milliseconds that a job spent in each stage; None until the stage has ended."""

    decode_ms: float | None = None
    queue_ms: float | None = None
    inference_ms: float | None = None


class JobMeta(BaseModel):
    """What Doppel stores in the ``meta`` of an RQ job."""

    kind: Kind = "translation"
    model: str
    timings: Timings = Timings()
    style: list[float] | None = None  # the result of a job of kind style
    arrangement: Arrangement | None = None  # of the result of a grid or a video
    delivery: Delivery | None = None  # None: the generated pictures are what was asked for
    seeds: list[int] = []  # of the latent codes, sent by the client or drawn for it
    done: float = 0.0  # 0 to 1, of a long job
    notes: list[str] = []  # what the client should know about how its pictures were used
    dataset: str | None = None  # the name of the data set that a job of kind dataset makes
    origin: Origin | None = None  # of a picture or a video, for its credentials
    final: bool = False  # it is about to end and can no longer be canceled
    request_id: str | None = None  # of the request that ordered it
    owner: str | None = None  # the name of the API key that ordered it; None: the server had no keys
    traceparent: str | None = None  # of that request where it is traced, as W3C Trace Context has it
    error: Failure | None = None


class JobState(BaseModel):
    """A job as its client may see it, read from the queue."""

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
    arrangement: Arrangement | None = None
    delivery: Delivery | None = None
    seeds: list[int] = []
    notes: list[str] = []
    dataset: str | None = None
    origin: Origin | None = None
    owner: str | None = None  # the name of the API key that ordered it
    error: Failure | None = None

    def event(self) -> "JobEvent":
        """The event that said so."""
        version = self.origin.version if self.origin is not None else None
        return JobEvent(
            id=self.id,
            status=self.status,
            owner=self.owner,
            timings=self.timings,
            version=version,
            error=self.error,
        )


class JobEvent(BaseModel):
    """Published on ``EVENTS`` whenever a job's status or progress changes."""

    id: str
    status: Status
    owner: str | None = None  # as of ``JobMeta``
    work: int | None = None  # as of ``Task``
    timings: Timings = Timings()
    version: str | None = None  # of the model that made the result; None: nothing tells it
    error: Failure | None = None


class WorkerReport(BaseModel):
    """What an inference worker reports with each heartbeat."""

    name: str
    pid: int
    host: str
    device: str
    loaded: list[str]  # models in memory, most recently used last
    memory_mb: int | None = None  # resident
    gpu_memory_mb: int | None = None  # reserved by torch
    seen_at: float  # Unix time, seconds
