"""The client's end of the inference queue: submit, look up, cancel."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from typing import cast
from uuid import uuid4

import redis
from pydantic import ValidationError
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError
from rq import Queue, Retry
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from models.pictures import Picture
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
from worker.errors import QueueFull, QueueUnreachable
from worker.picture_bytes import input_key, output_key, pack, unpack

JOB_TIMEOUT_S = 300
INPUT_TTL_S = 24 * 3600  # far longer than a job can wait, so an input outlives its job
RECORD_TTL_S = 4 * 3600  # how long an ended job can be looked up
# Fields of a job's hash, beside RQ's own:
BATCH_KEY_FIELD = "batch_key"
LONG_FIELD = "long"  # set only for long jobs
CANCELABLE_FIELD = "cancelable"  # set while a job runs and is not about to end
STARTING_S = 2.0  # far longer than a worker that lives takes to mark a job as running
CAPACITY_AGE_S = 0.2  # how old a look at the capacity may be
MEMORY_SHARE = 0.9  # of Redis' maxmemory, for pictures; the rest is for bookkeeping

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


def rq_queue(connection: redis.Redis, name: str = contract.INFERENCE_QUEUE) -> Queue:
    """The RQ queue of inference jobs, or another one whose jobs clients can look up."""
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=JOB_TIMEOUT_S)


def fetch_jobs(connection: redis.Redis, job_ids: Sequence[str]) -> list[Job | None]:
    """Do as RQ's ``Job.fetch_many``, but without a transaction, which a full Redis refuses even for reading."""
    with connection.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(Job.key_for(job_id))
        records = pipe.execute()
    jobs: list[Job | None] = []
    for job_id, record in zip(job_ids, records, strict=True):
        job = Job(job_id, connection, serializer=JSONSerializer) if record else None
        if job is not None:
            job.restore(record)
        jobs.append(job)
    return jobs


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
    """A blocking client. Every method raises :class:`QueueUnreachable` when Redis cannot be reached."""

    def __init__(self, connection: redis.Redis, *, limit: int) -> None:
        self.connection = connection
        self._queue = rq_queue(connection)
        self._queues = {name: rq_queue(connection, name) for name in contract.JOB_QUEUES}
        self._capacity = _Capacity(connection, self._queue.key, limit)

    def submit(
        self,
        task: Task,
        *pictures: Picture,
        decode_ms: float,
        job_id: str | None = None,
        notes: Sequence[str] = (),
        arrangement: Arrangement | None = None,
        delivery: Delivery | None = None,
    ) -> str:
        """Queue a task and return its job's id. By then Redis holds both the job and its pictures.

        Args:
            pictures: the sources, then the references, (H, W, 3) uint8 RGB each.
            decode_ms: how long decoding them took.
            job_id: a fresh :func:`new_job_id`, from callers that watch the job before it exists.
            notes: what the client should know about how its pictures were used.
            arrangement: of the result of a grid or a video.
            delivery: how the generated pictures become those that the client asked for; None: as they are.

        Raises:
            QueueFull: too many jobs or too many bytes are waiting.
        """
        job_id = job_id or new_job_id()
        data = pack(*pictures)
        meta = JobMeta(
            kind=task.kind,
            model=task.model,
            timings=Timings(decode_ms=decode_ms),
            notes=list(notes),
            arrangement=arrangement,
            delivery=delivery,
            seeds=[guide.seed for guide in task.guides if guide.seed is not None],
        )
        with translating_errors():
            # There must be room for the output too.
            self._capacity.reserve(len(data) + task.result_bytes)
            job = self._queue.create_job(
                contract.RUN_TASK,
                kwargs=task.model_dump(exclude_none=True),
                job_id=job_id,
                meta=meta.model_dump(exclude_none=True),
                result_ttl=RECORD_TTL_S,
                failure_ttl=RECORD_TTL_S,
                retry=Retry(max=contract.MAX_TRIES - 1),
                description=task.batch_key,
            )
            with self.connection.pipeline() as pipe:
                self._queue.enqueue_job(job, pipeline=pipe)  # first, because RQ begins the transaction
                pipe.hset(job.key, BATCH_KEY_FIELD, task.batch_key)
                if task.long:
                    pipe.hset(job.key, LONG_FIELD, "1")
                    pipe.hset(contract.CLAIMS, job_id, str(task.result_bytes))
                pipe.set(input_key(job_id), data, ex=INPUT_TTL_S)
                pipe.execute()
        return job_id

    def states(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """Look up jobs; None for each that does not exist, or no longer. One round trip, plus one per queued job."""
        with translating_errors():
            jobs = fetch_jobs(self.connection, job_ids)
            # Attempts at training runs are RQ jobs too, but are looked up by their run.
            return [self._state(job) if job and job.origin in self._queues else None for job in jobs]

    def state(self, job_id: str) -> JobState | None:
        return self.states([job_id])[0]

    def _state(self, job: Job) -> JobState:
        status = _STATUSES.get(job.get_status(refresh=False), Status.QUEUED)
        meta = job_meta(job)
        error = meta.error
        if status is Status.FAILED and error is None:
            error = WORKER_DIED  # a live worker writes the error; without one, RQ failed the job by its lease
        finished_at = job.ended_at if status.ended else None
        return JobState(
            id=job.id,
            kind=meta.kind,
            model=meta.model,
            status=status,
            position=self._queues[job.origin].get_job_position(job.id) if status is Status.QUEUED else None,
            progress=1.0 if status is Status.SUCCEEDED else meta.done,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=finished_at,
            timings=meta.timings,
            style=meta.style,
            arrangement=meta.arrangement,
            delivery=meta.delivery,
            seeds=meta.seeds,
            notes=meta.notes,
            dataset=meta.dataset,
            error=error,
        )

    def result(self, job_id: str) -> list[Picture] | None:
        """Return the job's pictures, (H, W, 3) uint8 RGB each; None before they exist and after they expired."""
        with translating_errors():
            data = cast(bytes | None, self.connection.get(output_key(job_id)))
        return None if data is None else unpack(data)

    def keep(self, job_ids: Sequence[str], *, for_s: int) -> None:
        """Keep the results of these jobs for this long from now, instead of what the worker set."""
        with translating_errors(), self.connection.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.expire(output_key(job_id), for_s)
            pipe.execute()

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
        state = self._state(found) if found is not None and found.origin in self._queues else None
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
        pipe.lrem(queue.key, 1, job_id)
        queue.canceled_job_registry.add(found, pipeline=pipe)
        pipe.delete(input_key(job_id))
        pipe.hdel(contract.CLAIMS, job_id)
        pipe.publish(contract.EVENTS, JobEvent(id=job_id, status=Status.CANCELED).model_dump_json())

    def workers(self, *, seen_within_s: float) -> list[WorkerReport]:
        """List the workers whose last heartbeat is at most ``seen_within_s`` old, by name."""
        with translating_errors():
            reports = self.connection.hvals(contract.WORKERS)
        oldest = time.time() - seen_within_s
        workers = [report for report in map(_report, reports) if report is not None]
        return sorted((worker for worker in workers if worker.seen_at >= oldest), key=lambda worker: worker.name)

    def want(self, model: str) -> None:
        """Ask the workers to fetch a model's weights in the background."""
        with translating_errors():
            self.connection.sadd(contract.WANTED, model)


class _Capacity:
    """What the queue still has room for. While there is room, asks Redis at most every ``CAPACITY_AGE_S``."""

    def __init__(self, connection: redis.Redis, queue_key: str, limit: int) -> None:
        self._connection = connection
        self._queue_key = queue_key
        self._limit = limit
        self._asked_at = 0.0
        self._waiting = 0  # jobs
        self._used = 0  # bytes
        self._memory = 0  # bytes; 0: Redis sets no limit

    def reserve(self, nbytes: int) -> None:
        """Count one more job of ``nbytes``.

        Raises:
            QueueFull: there is no room for it.
        """
        # Jobs may have ended since the last look, so ask again before refusing.
        if time.monotonic() - self._asked_at > CAPACITY_AGE_S or self._why_full(nbytes):
            self._ask()
            if why := self._why_full(nbytes):
                raise QueueFull(why)
        self._waiting += 1
        self._used += nbytes

    def _ask(self) -> None:
        with self._connection.pipeline(transaction=False) as pipe:
            pipe.llen(self._queue_key)
            pipe.info("memory")
            pipe.hvals(contract.CLAIMS)  # results of long jobs, which are not in memory yet
            self._waiting, report, claims = pipe.execute()
        self._used = report["used_memory"] + sum(map(int, claims))
        self._memory = report["maxmemory"]
        self._asked_at = time.monotonic()

    def _why_full(self, nbytes: int) -> str | None:
        if self._waiting >= self._limit:
            return f"{self._waiting} pictures are waiting already; no more than {self._limit} are accepted."
        if self._memory and self._used + nbytes > MEMORY_SHARE * self._memory:
            return f"The pictures that are waiting or kept fill the {self._memory >> 20} MB set aside for them."
        return None


def job_meta(job: Job) -> JobMeta:
    """Read what Doppel stored with an RQ job."""
    try:
        return JobMeta.model_validate(job.meta)
    except ValidationError:
        return JobMeta(model="")  # written by another version


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
