"""A job on the worker's side: the task read from it, the result, and the failure to report."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rq.executions import Execution
from rq.job import Job
from rq.utils import now

from models.errors import DoppelError
from models.pictures import Picture
from worker import contract
from worker.contract import Failure, FailureCode, JobEvent, JobMeta, Status, Task
from worker.errors import TaskError
from worker.inference_queue import job_meta
from worker.picture_bytes import unpack

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


@dataclass(frozen=True)
class Step:
    """What a step of a long task gives."""

    pictures: list[Picture]  # those that are finished by it
    done: float  # share of the whole task, 0 to 1


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

    def run_in_steps(self, task: LoadedTask) -> Iterator[Step]:
        """Run a long task."""

    def loaded(self) -> list[str]:
        """Names of the models in memory, most recently used last."""


@dataclass
class RunningJob:
    """A job that a worker has started."""

    job: Job
    execution: Execution
    loaded: LoadedTask | None  # None: it cannot be run, and ``result`` says why
    meta: JobMeta
    result: Result | Exception | None = None
    requeued: bool = False  # it is back in the queue, unfinished

    @classmethod
    def load(cls, job: Job, execution: Execution, packed: bytes | None) -> "RunningJob":
        """Read the task and the pictures of a job that was just started.

        Args:
            packed: the job's pictures, packed; None if they expired.
        """
        meta = job_meta(job)
        meta.done = 0.0  # an earlier worker may have died in the middle
        enqueued_at = job.enqueued_at or job.created_at
        meta.timings.queue_ms = round((now() - enqueued_at).total_seconds() * 1000, 1)
        task = read_task(job)
        if isinstance(task, Exception):
            return cls(job, execution, None, meta, result=task)
        if packed is None:
            expired = TaskError("The picture expired before a worker could take the job.")
            return cls(job, execution, None, meta, result=expired)
        return cls(job, execution, LoadedTask(task, unpack(packed)), meta)

    def event(self, status: Status) -> str:
        """The event to publish when the job gets this status, as JSON."""
        event = JobEvent(id=self.job.id, status=status, timings=self.meta.timings, error=self.meta.error)
        return event.model_dump_json()


def read_task(job: Job) -> Task | TaskError:
    """Read a job's task, or return the error to report if it has none that a worker can run."""
    try:
        # JSON keeps pickles out, but a job still names a function. It is compared, and never imported.
        if job.func_name != contract.RUN_TASK:
            return TaskError(f"The function {job.func_name!r} is not one that this worker runs.")
        return Task.model_validate(job.kwargs)
    except Exception as error:  # RQ raises whatever its serializer raises
        return TaskError(f"The job cannot be read: {error}")


def failure_of(error: Exception) -> Failure:
    """Describe an error to the job's owner. An unexpected one is logged with its traceback."""
    if isinstance(error, TaskError):
        return Failure(code=error.code, detail=str(error))
    if isinstance(error, DoppelError):
        log.error("a job failed: %s", error)
        return Failure(code=FailureCode.TRANSLATION_FAILED, detail=str(error))
    log.error("a job failed", exc_info=(type(error), error, error.__traceback__))
    return Failure(code=FailureCode.TRANSLATION_FAILED, detail=f"{type(error).__name__}: {error}")
