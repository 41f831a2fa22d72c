"""A job as work: what is asked for, what came of it, and what is said about that. Knows nothing of when it runs."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rq.executions import Execution
from rq.job import Job
from rq.utils import now

from models.pictures import Picture
from worker import contract
from worker.contract import Failure, FailureCode, JobEvent, JobMeta, Status, Task
from worker.errors import TaskError
from worker.inference_queue import job_meta
from worker.payload import unpack

log = logging.getLogger("doppel.worker")

Outcome = Picture | list[Picture] | list[float]  # a picture, those of a long job, or a style code


@dataclass(frozen=True)
class Work:
    """A task with its pictures: the sources, then the references."""

    task: Task
    pictures: list[Picture]


Perform = Callable[[Sequence[Work]], Sequence[Picture | list[float]]]  # of works that share a batch key
Stream = Callable[[Work], Iterator[list[Picture]]]  # of a long job: its pictures, some at a time


@dataclass
class Running:
    """A job in a worker's hands."""

    job: Job
    execution: Execution
    work: Work | None  # None: it is not one that can be done
    meta: JobMeta
    outcome: Outcome | Exception | None = None
    ours: bool = True  # to end; not if it was canceled, or given up as this worker's
    queued: bool = False  # again, unfinished: handed back, or given up

    @classmethod
    def of(cls, job: Job, execution: Execution, data: bytes | None) -> "Running":
        """A job that was just started; ``data`` are its packed pictures, None if they expired."""
        meta = job_meta(job)
        meta.done = 0.0  # whatever a worker that died had done
        enqueued_at = job.enqueued_at or job.created_at
        meta.timings.queue_ms = round((now() - enqueued_at).total_seconds() * 1000, 1)
        task = task_of(job)
        if isinstance(task, Exception):
            return cls(job, execution, None, meta, outcome=task)
        if data is None:
            expired = TaskError("The picture expired before a worker came to it.")
            return cls(job, execution, None, meta, outcome=expired)
        return cls(job, execution, Work(task, unpack(data)), meta)

    def event(self, status: Status) -> str:
        """What is published when the job's status becomes ``status``."""
        event = JobEvent(id=self.job.id, status=status, timings=self.meta.timings, error=self.meta.error)
        return event.model_dump_json()


def task_of(job: Job) -> Task | Exception:
    """What a job asks for, or why no worker does it."""
    try:
        # JSON keeps pickles out, but a job still names a function: none but ours is ever looked up.
        if job.func_name != contract.TRANSLATE:
            return TaskError(f"The function {job.func_name!r} is not one that this worker runs.")
        return Task.model_validate(job.kwargs)
    except Exception as error:  # RQ raises what its serializer raises
        return TaskError(f"The job is not understood: {error}")


def failure_of(error: Exception) -> Failure:
    """An exception as the job's owner sees it; what is not the owner's to mend is logged whole."""
    if isinstance(error, TaskError):
        return Failure(code=error.code, detail=str(error))
    log.error("a job failed", exc_info=(type(error), error, error.__traceback__))
    return Failure(code=FailureCode.TRANSLATION_FAILED, detail=f"{type(error).__name__}: {error}")
