"""A job on the worker's side: the task read from it, the result, and the failure to report."""

import contextlib
import json
import logging
import time
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import ValidationError
from rq.job import Job

from models.errors import DoppelError
from models.pictures import Picture
from worker import contract
from worker.batching import StartedJob
from worker.contract import Failure, FailureCode, JobEvent, JobMeta, Status, Task
from worker.errors import OutOfMemory, TaskError, TimedOut
from worker.job_records import INPUT_TTL_S
from worker.picture_bytes import unpack

_NO_MEMORY = ("bad_alloc", "not enough memory", "can't allocate memory", "Failed to allocate")
MAX_TASK_BYTES = 16 << 20  # of a task as JSON; the API takes far less

log = logging.getLogger("doppel.worker")


@dataclass(frozen=True)
class LoadedTask:
    """A task with its pictures, (H, W, 3) uint8 RGB each: the sources, then the references."""

    task: Task
    pictures: list[Picture]


@dataclass(frozen=True)
class Result:
    """What a task gives: pictures, (H, W, 3) uint8 RGB each, or a style code."""

    pictures: list[Picture] = field(default_factory=list)
    style: list[float] | None = None
    version: str | None = None  # of the model; None: nothing tells it


@dataclass(frozen=True)
class Step:
    """What a step of a long task gives."""

    pictures: list[Picture]  # those that are finished by it
    done: float  # share of the whole task, 0 to 1
    version: str | None = None  # of the model; None: nothing tells it


class Begun(Protocol):
    """N short tasks that are run beside this thread."""

    def done(self) -> bool:
        """Whether there is nothing left to wait for."""

    def result(self) -> Sequence[Result]:
        """Wait for their N results; it raises as :meth:`TaskRunner.run_batch`."""


class TaskRunner(Protocol):
    """What an inference worker runs tasks with: the models in memory, or in tests something simpler."""

    def run_batch(self, tasks: Sequence[LoadedTask]) -> Sequence[Result]:
        """Run N short tasks of one batch key; return their N results."""

    def begin(self, tasks: Sequence[LoadedTask]) -> "Begun | None":
        """Start N short tasks of one batch key, if what computes them does so beside this thread.

        None: they have to be run by :meth:`run_batch`.
        """

    def run_in_steps(self, task: LoadedTask) -> Generator[Step]:
        """Run a long task."""

    def loaded(self) -> list[str]:
        """Names of the models in memory, most recently used last."""

    def usable(self) -> bool:
        """Whether it can go on after it raised an error; False if every further task would fail."""


@dataclass
class RunningJob:
    """A job that a worker has started."""

    started: StartedJob
    loaded: LoadedTask | None  # None: it cannot be run, and ``result`` says why
    meta: JobMeta
    result: Result | Exception | None = None
    requeued: bool = False  # it is back in the queue, unfinished

    @classmethod
    def load(cls, started: StartedJob) -> "RunningJob":
        """Read the task and the pictures of a job that was just started."""
        meta = _read_meta(started.fields.get(b"meta", b"{}"))
        meta.done = 0.0  # an earlier worker may have died in the middle
        queued_at = started.fields.get(b"enqueued_at") or started.fields.get(b"created_at", b"")
        with contextlib.suppress(ValueError, TypeError):  # it is no time
            waited = started.started_at - datetime.fromisoformat(queued_at.decode())
            meta.timings.queue_ms = round(waited.total_seconds() * 1000, 1)
        task = _read_task(started.fields.get(b"data", b""))
        if isinstance(task, Task) and task.long and started.batch_key is not None:
            task = TaskError("The job's record says that it can run in a batch, and its task that it can't.")
        if isinstance(task, Exception):
            return cls(started, None, meta, result=task)
        if started.packed is None:
            return cls(started, None, meta, result=TaskError(f"{_why_gone(started)} Send it again."))
        try:
            pictures = unpack(started.packed)
        except ValueError as error:
            return cls(started, None, meta, result=TaskError(f"The job's pictures cannot be read: {error}"))
        return cls(started, LoadedTask(task, pictures), meta)

    def end_with(self, result: "Result | Exception | None") -> None:
        """Set how it ends. A model may have been published or rolled back since the job was ordered."""
        self.result = result
        if isinstance(result, Result) and result.version is not None and self.meta.origin is not None:
            self.meta.origin = self.meta.origin.model_copy(update={"version": result.version})

    @property
    def id(self) -> str:
        return self.started.id

    @property
    def key(self) -> str:
        """Of its record in Redis."""
        return Job.key_for(self.id)

    def event(self, status: Status) -> str:
        """The event to publish when the job gets this status, as JSON."""
        work = self.loaded.task.work if self.loaded else None
        meta = self.meta
        event = JobEvent(
            id=self.id,
            status=status,
            owner=meta.owner,
            work=work,
            timings=meta.timings,
            version=meta.origin.version if meta.origin is not None else None,
            error=meta.error,
        )
        return event.model_dump_json(exclude_none=True)


def _why_gone(started: StartedJob) -> str:
    """Why a job has no picture any more, as far as that can be known."""
    with contextlib.suppress(ValueError, TypeError):  # it is no time
        created_at = datetime.fromisoformat(started.fields.get(b"created_at", b"").decode())
        if (started.started_at - created_at).total_seconds() >= INPUT_TTL_S:
            return f"The picture expired: no worker took the job within {INPUT_TTL_S // 3600} hours."
    if started.worker.connection.info("stats").get("evicted_keys"):
        return "The picture is gone: this server's Redis was full and has dropped data to make room."
    return (
        "The picture is gone: it was deleted from this server's Redis, or got lost there, before a worker took the job."
    )


def _read_meta(data: bytes) -> JobMeta:
    try:
        return JobMeta.model_validate_json(data)
    except ValidationError:
        return JobMeta(model="")  # written by another version


def _read_task(data: bytes) -> Task | TaskError:
    """Read a job's task, or return the error to report if it has none that a worker can run.

    Args:
        data: what RQ's JSON serializer made of a function's name, an object, and positional and named arguments.
    """
    try:
        # JSON keeps pickles out, but a job still names a function. It is compared, and never imported.
        name, _, _, arguments = json.loads(_inflated(data))
        if name != contract.RUN_TASK:
            return TaskError(f"The function {name!r:.80} is not one that this worker runs.")
        task = Task.model_validate(arguments)
        task.require_bounded()
        return task
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        return TaskError(f"The job cannot be read: {str(error)[:500]}")


def _inflated(data: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    inflated = decompressor.decompress(data, MAX_TASK_BYTES)
    if not decompressor.eof:
        raise ValueError(f"it is cut short, or has more than {MAX_TASK_BYTES:,} bytes")
    return inflated


def within(steps: Iterable[Step], seconds: float) -> Iterator[Step]:
    """The steps of a long task, while they take no longer than this; what is done between them does not count.

    Raises:
        TimedOut: they take longer, and another step is left.
    """
    left_s = seconds
    begun = time.monotonic()
    for step in steps:
        left_s -= time.monotonic() - begun
        if left_s < 0 and step.done < 1:
            raise TimedOut(seconds)
        yield step
        begun = time.monotonic()


def out_of_memory(error: Exception) -> bool:
    """Whether an error means that there was no memory; libraries in C++ say so in their own words."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def failure_of(error: Exception) -> Failure:
    """Describe an error to the job's owner. An unexpected one is logged with its traceback."""
    if out_of_memory(error):
        log.error("a job took too much memory: %s", error)
        error = OutOfMemory()
    if isinstance(error, TaskError):
        return Failure(code=error.code, detail=str(error))
    if isinstance(error, DoppelError):
        log.error("a job failed: %s", error)
        return Failure(code=FailureCode.TRANSLATION_FAILED, detail=str(error))
    log.error("a job failed", exc_info=(type(error), error, error.__traceback__))
    return Failure(code=FailureCode.TRANSLATION_FAILED, detail=f"{type(error).__name__}: {error}")
