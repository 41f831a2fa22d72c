"""The client's end of the queues of jobs for threads, and what it shares with that for an event loop."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from typing import cast
from uuid import uuid4

import redis
from pydantic import ValidationError
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, ResponseError
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from models import logs
from models.provenance.origin import Origin
from worker import contract
from worker.connection import LOST
from worker.contract import (
    Arrangement,
    Delivery,
    Failure,
    FailureCode,
    JobEvent,
    JobMeta,
    JobState,
    Status,
    Task,
    Timings,
    WorkerReport,
)
from worker.errors import QueueFull, QueueUnreachable, RecordUnreadable
from worker.fair_order import WITHDRAW
from worker.job_records import CANCELABLE_FIELD, JOB_TIMEOUT_S, RECORD_TTL_S
from worker.malformed_records import LenientJob, is_credible
from worker.picture_bytes import input_key

STARTING_S = 2.0  # far longer than a worker that lives takes to mark a job as running

_STATUSES = {
    JobStatus.STARTED: Status.RUNNING,
    JobStatus.FINISHED: Status.SUCCEEDED,
    JobStatus.FAILED: Status.FAILED,
    JobStatus.STOPPED: Status.CANCELED,
    JobStatus.CANCELED: Status.CANCELED,
}

WORKER_DIED = Failure(
    code=FailureCode.WORKER_DIED,
    detail=f"The worker process died while it worked on this job, {contract.MAX_TRIES} times in all.",
)
NO_STATUS = Failure(
    code=FailureCode.CANNOT_BE_DONE, detail="The job's record can't be used: it has no status that can be read."
)


def rq_queue(connection: redis.Redis, name: str = contract.INFERENCE_QUEUE, *, kind: type[Queue] = Queue) -> Queue:
    """The RQ queue of inference jobs, or another one whose jobs clients can look up."""
    return kind(
        name,
        connection=connection,
        serializer=JSONSerializer,
        default_timeout=JOB_TIMEOUT_S,
        job_class=LenientJob,
    )


def fetch_jobs(connection: redis.Redis, job_ids: Sequence[str]) -> list[Job | None]:
    """Do as RQ's ``Job.fetch_many``, but without a transaction, which a full Redis refuses even for reading."""
    with connection.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(Job.key_for(job_id))
        records = pipe.execute()
    pairs = zip(job_ids, records, strict=True)
    return [restored(connection, job_id, record) if record else None for job_id, record in pairs]


def restored(connection: redis.Redis, job_id: str, record: dict[bytes, bytes]) -> Job:
    """The RQ job of this record."""
    job = LenientJob(job_id, connection, serializer=JSONSerializer)
    job.restore(record)
    return job


def forbid_cancel(connection: redis.Redis, keys: Sequence[str]) -> list[bytes | None]:
    """Make running jobs impossible to cancel, because they are about to end.

    Args:
        keys: the Redis keys of the jobs.

    Returns:
        The status of each, in RQ's words: one that was canceled first is ``b"canceled"``.
    """
    with connection.pipeline() as pipe:
        for key in keys:
            pipe.hget(key, "status")
            pipe.hdel(key, CANCELABLE_FIELD)
        return cast(list[bytes | None], pipe.execute()[::2])


class _Starting(Exception):
    """A worker has taken the job from the queue, and is about to mark it as running."""


class InferenceQueue:
    """A blocking client. Every method raises :class:`QueueUnreachable` when Redis cannot be reached.

    Pictures are submitted, and their results fetched, by ``async_inference_queue.py`` alone.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self._queues = {name: rq_queue(connection, name) for name in contract.JOB_QUEUES}

    def states(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """Look up jobs; None for each that does not exist, or no longer. One round trip, plus one per queued job."""
        with translating_errors():
            return [self._state(job) if job else None for job in fetch_jobs(self.connection, job_ids)]

    def state(self, job_id: str) -> JobState | None:
        return self.states([job_id])[0]

    def _state(self, job: Job) -> JobState | None:
        queue = self._queues.get(job.origin)
        waits = job_status(job) is Status.QUEUED
        return job_state(job, queue.get_job_position(job.id) if queue is not None and waits else None)

    def cancel(self, job_id: str) -> JobState | None:
        """Cancel a job: a queued one never runs, the result of a running one is dropped.

        Returns:
            Its state afterwards, unchanged if it has ended or is about to; None if there is no such job.
        """
        keys = [Job.key_for(job_id), *(queue.key for queue in self._queues.values())]
        give_up_at = time.monotonic() + STARTING_S
        with translating_errors():
            while True:
                cancel = functools.partial(self._cancel, job_id, wait_for_start=time.monotonic() < give_up_at)
                with contextlib.suppress(_Starting):
                    self.connection.transaction(cancel, *keys)
                    return self.state(job_id)
                time.sleep(0.002)

    def _cancel(self, job_id: str, pipe: Pipeline, *, wait_for_start: bool) -> None:
        """Write a cancellation. redis-py calls this again if the job or the queue changes meanwhile.

        RQ's own ``Job.cancel`` fails on the records that a dead worker leaves behind. Those of a running job are
        removed by its worker, or when the lease runs out.

        Raises:
            _Starting: a worker is about to mark it as running, and ``wait_for_start`` is set.
        """
        found = fetch_jobs(self.connection, [job_id])[0]
        state = self._state(found) if found is not None else None
        cancelable = pipe.hexists(Job.key_for(job_id), CANCELABLE_FIELD)
        pipe.multi()
        if found is None or state is None or state.status.ended:
            return
        if job_meta(found).final or (state.status is Status.RUNNING and not cancelable):
            return
        if state.status is Status.QUEUED and state.position is None and wait_for_start:
            raise _Starting
        found.set_status(JobStatus.CANCELED, pipeline=pipe)
        pipe.hset(found.key, "ended_at", utcformat(now()))
        pipe.expire(found.key, RECORD_TTL_S)
        queue = self._queues[found.origin]
        if found.origin == contract.INFERENCE_QUEUE:
            pipe.eval(WITHDRAW, 1, queue.key, job_id, job_meta(found).owner or "")
        else:  # its jobs have no turns
            pipe.lrem(queue.key, 1, job_id)
        queue.canceled_job_registry.add(found, pipeline=pipe)
        pipe.delete(input_key(job_id))
        pipe.hdel(contract.CLAIMS, job_id)
        pipe.publish(contract.EVENTS, JobEvent(id=job_id, status=Status.CANCELED).model_dump_json())

    def workers(self, *, seen_within_s: float) -> list[WorkerReport]:
        """List the workers whose last heartbeat is at most ``seen_within_s`` old, by name."""
        with translating_errors():
            reports = self.connection.hvals(contract.WORKERS)
        return live_workers(reports, seen_within_s)


def job_status(job: Job) -> Status:
    """The status of an RQ job, as its client sees it."""
    status = job.get_status(refresh=False)
    return Status.FAILED if status is None else _STATUSES.get(status, Status.QUEUED)


def job_state(job: Job, position: int | None) -> JobState | None:
    """What a client may see of an RQ job; None for an attempt at a training run, which is looked up by its run.

    Args:
        position: in its queue, if it waits there.
    """
    if job.origin not in contract.JOB_QUEUES:
        return None
    status, meta = job_status(job), job_meta(job)
    error = meta.error
    if status is Status.FAILED and error is None:
        # A live worker writes the error; without one, RQ failed the job by its lease.
        error = NO_STATUS if job.get_status(refresh=False) is None else WORKER_DIED
    return JobState(
        id=job.id,
        kind=meta.kind,
        model=meta.model,
        status=status,
        position=position,
        progress=1.0 if status is Status.SUCCEEDED else meta.done,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.ended_at if status.ended else None,
        timings=meta.timings,
        style=meta.style,
        arrangement=meta.arrangement,
        delivery=meta.delivery,
        seeds=meta.seeds,
        notes=meta.notes,
        dataset=meta.dataset,
        origin=meta.origin,
        owner=meta.owner,
        error=error,
    )


def new_meta(
    task: Task,
    decode_ms: float,
    notes: Sequence[str],
    arrangement: Arrangement | None,
    delivery: Delivery | None,
    origin: Origin | None,
    owner: str | None,
) -> JobMeta:
    """What is stored with a job that is about to be queued."""
    ordered = logs.request()
    return JobMeta(
        kind=task.kind,
        model=task.model,
        timings=Timings(decode_ms=decode_ms),
        notes=list(notes),
        arrangement=arrangement,
        delivery=delivery,
        origin=origin,
        owner=owner,
        request_id=ordered.request_id,
        traceparent=ordered.traceparent,
        seeds=[guide.seed for guide in task.guides if guide.seed is not None],
    )


def job_meta(job: Job) -> JobMeta:
    """Read what Doppel stored with an RQ job."""
    try:
        return JobMeta.model_validate(job.meta)
    except ValidationError:
        return JobMeta(model="")  # written by another version


def live_workers(reports: Sequence[bytes | str], seen_within_s: float) -> list[WorkerReport]:
    """Those of the reports that are at most ``seen_within_s`` old, by name."""
    oldest = time.time() - seen_within_s
    workers = [report for report in map(_report, reports) if report is not None]
    return sorted(
        (worker for worker in workers if worker.seen_at >= oldest and is_credible(worker.seen_at)),
        key=lambda worker: worker.name,
    )


def _report(data: bytes | str) -> WorkerReport | None:
    try:
        return WorkerReport.model_validate_json(data)
    except ValidationError:
        return None  # from a worker of another version


def new_job_id() -> str:
    return uuid4().hex


@contextlib.contextmanager
def translating_errors() -> Iterator[None]:
    """Translate redis-py's errors into Doppel's."""
    try:
        yield
    except OutOfMemoryError as error:
        raise QueueFull("The memory set aside for pictures is full.") from error
    except LOST as error:
        raise QueueUnreachable("The queue cannot be reached. Try again shortly.") from error
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        raise RecordUnreadable("What the queue holds under this name is no record that can be read.") from error
