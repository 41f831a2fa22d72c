"""The client's end of the inference queue: submit, look, cancel."""

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
    Failure,
    FailureCode,
    JobEvent,
    JobMeta,
    JobState,
    Layout,
    Status,
    Task,
    Timings,
    WorkerReport,
)
from worker.errors import QueueFull, QueueUnreachable
from worker.payload import input_key, output_key, pack, unpack

JOB_TIMEOUT_S = 300
INPUT_TTL_S = 24 * 3600  # far longer than a job can wait: an input outlives its job
RECORD_TTL_S = 4 * 3600  # how long an ended job can be asked about
BATCH_KEY_FIELD = "batch_key"  # of a job's hash, beside RQ's own fields
LONG_FIELD = "long"  # the same, there only for long jobs
CANCELABLE_FIELD = "cancelable"  # the same, there while a job runs and is not about to end
TAKEN_S = 2.0  # far longer than a job is neither in the queue nor known to run, if its worker lives
ROOM_AGE_S = 0.2
MEMORY_SHARE = 0.9  # of Redis' maxmemory that pictures may fill; the rest is for bookkeeping

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


def rq_queue(connection: redis.Redis, name: str = contract.QUEUE) -> Queue:
    """The RQ queue that both ends share."""
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=JOB_TIMEOUT_S)


def fetch_jobs(connection: redis.Redis, job_ids: Sequence[str]) -> list[Job | None]:
    """As RQ's ``Job.fetch_many``, but outside a transaction, in which a full Redis lets nobody read either."""
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


def claim_end(connection: redis.Redis, keys: Sequence[str]) -> list[bytes | None]:
    """Have running jobs canceled no more, since they are about to end.

    Returns:
        The status of each; of those that were canceled before, that.
    """
    with connection.pipeline() as pipe:
        for key in keys:
            pipe.hget(key, "status")
            pipe.hdel(key, CANCELABLE_FIELD)
        return cast(list[bytes | None], pipe.execute()[::2])


class _Taken(Exception):
    """A worker has taken the job from the queue, and is about to write that it runs."""


class InferenceQueue:
    """A blocking client; every method raises :class:`QueueUnreachable` when Redis stays away."""

    def __init__(self, connection: redis.Redis, *, limit: int) -> None:
        self.connection = connection
        self._queue = rq_queue(connection)
        self._queues = {name: rq_queue(connection, name) for name in contract.JOB_QUEUES}
        self._room = _Room(connection, self._queue.key, limit)

    def submit(
        self,
        task: Task,
        *pictures: Picture,
        decode_ms: float,
        job_id: str | None = None,
        notes: Sequence[str] = (),
        layout: Layout | None = None,
    ) -> str:
        """Accept a piece of work; when this returns, Redis holds both job and pictures.

        Args:
            pictures: the sources, then the references, (H, W, 3) uint8 RGB.
            decode_ms: what reading them took.
            job_id: a fresh :func:`new_job_id`, for callers that listen for the job before it exists.
            notes: what was done with the pictures that their owner should know.
            layout: of the result, if it is of several pictures.

        Raises:
            QueueFull: too many jobs or too many bytes are waiting.
        """
        job_id = job_id or new_job_id()
        data = pack(*pictures)
        meta = JobMeta(
            kind=task.kind, model=task.model, timings=Timings(decode_ms=decode_ms), notes=list(notes), layout=layout
        )
        with translating_errors():
            # Beside the input there must be room for the output.
            self._room.claim(len(data) + task.result_bytes)
            job = self._queue.create_job(
                contract.TRANSLATE,
                kwargs=task.model_dump(exclude_none=True),
                job_id=job_id,
                meta=meta.model_dump(exclude_none=True),
                result_ttl=RECORD_TTL_S,
                failure_ttl=RECORD_TTL_S,
                retry=Retry(max=contract.MAX_TRIES - 1),
                description=task.batch_key,
            )
            with self.connection.pipeline() as pipe:
                self._queue.enqueue_job(job, pipeline=pipe)  # first, since RQ begins the transaction
                pipe.hset(job.key, BATCH_KEY_FIELD, task.batch_key)
                if task.kind in contract.LONG_KINDS:
                    pipe.hset(job.key, LONG_FIELD, "1")
                    pipe.hset(contract.CLAIMS, job_id, str(task.result_bytes))
                pipe.set(input_key(job_id), data, ex=INPUT_TTL_S)
                pipe.execute()
        return job_id

    def states(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """The jobs' states, None for those that never were or are forgotten; one round trip for all but positions."""
        with translating_errors():
            jobs = fetch_jobs(self.connection, job_ids)
            # Attempts at training runs are jobs too, but of another queue and with a truth of their own.
            return [self._state(job) if job and job.origin in self._queues else None for job in jobs]

    def state(self, job_id: str) -> JobState | None:
        return self.states([job_id])[0]

    def _state(self, job: Job) -> JobState:
        status = _STATUSES.get(job.get_status(refresh=False), Status.QUEUED)
        meta = job_meta(job)
        error = meta.error
        if status is Status.FAILED and error is None:
            error = WORKER_DIED  # a worker that lives leaves its reason; only RQ's lease ends a job without one
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
            layout=meta.layout,
            notes=meta.notes,
            dataset=meta.dataset,
            error=error,
        )

    def result(self, job_id: str) -> list[Picture] | None:
        """The job's pictures (H, W, 3), uint8 RGB; None before they are there and after they expired."""
        with translating_errors():
            data = cast(bytes | None, self.connection.get(output_key(job_id)))
        return None if data is None else unpack(data)

    def keep(self, job_ids: Sequence[str], *, for_s: int) -> None:
        """Keep these jobs' translated pictures for so long from now on, whatever the worker set."""
        with translating_errors(), self.connection.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.expire(output_key(job_id), for_s)
            pipe.execute()

    def cancel(self, job_id: str) -> JobState | None:
        """Cancel a job that has not ended: a queued one never runs, a running one's result is dropped.

        Returns:
            Its state afterwards, unchanged if it had ended or is about to; None if there is no such job.
        """
        keys = [Job.key_for(job_id), *(queue.key for queue in self._queues.values())]
        taken_until = time.monotonic() + TAKEN_S
        with translating_errors():
            while True:
                cancel = functools.partial(self._cancel, job_id, patient=time.monotonic() < taken_until)
                with contextlib.suppress(_Taken):
                    self.connection.transaction(cancel, *keys)
                    return self.state(job_id)
                time.sleep(0.002)

    def _cancel(self, job_id: str, pipe: Pipeline, *, patient: bool) -> None:
        """The writes of a cancellation, begun anew by redis-py if the job or the queue changes meanwhile.

        RQ's own ``Job.cancel`` stumbles over the records that a dead worker leaves; a running job's are cleared by its
        worker, or when the lease ends.

        Raises:
            _Taken: and one is ``patient``.
        """
        found = fetch_jobs(self.connection, [job_id])[0]
        state = self._state(found) if found is not None and found.origin in self._queues else None
        cancelable = pipe.hexists(Job.key_for(job_id), CANCELABLE_FIELD)
        pipe.multi()
        if found is None or state is None or state.status.ended:
            return
        if job_meta(found).final or (state.status is Status.RUNNING and not cancelable):
            return
        if state.status is Status.QUEUED and state.position is None and patient:
            raise _Taken
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
        """The workers that were heard of within ``seen_within_s``."""
        with translating_errors():
            reports = self.connection.hvals(contract.WORKERS)
        oldest = time.time() - seen_within_s
        workers = [report for report in map(_report, reports) if report is not None]
        return sorted((worker for worker in workers if worker.seen_at >= oldest), key=lambda worker: worker.name)

    def want(self, model: str) -> None:
        """Ask the workers to fetch a model's weights in the background."""
        with translating_errors():
            self.connection.sadd(contract.WANTED, model)


class _Room:
    """What the queue and Redis' memory still take on. Asked for at most every ``ROOM_AGE_S`` while there is plenty."""

    def __init__(self, connection: redis.Redis, queue_key: str, limit: int) -> None:
        self._connection = connection
        self._queue_key = queue_key
        self._limit = limit
        self._asked_at = 0.0
        self._waiting = 0  # jobs
        self._used = 0  # bytes
        self._memory = 0  # bytes; 0: Redis sets no limit

    def claim(self, nbytes: int) -> None:
        """Count on one job and ``nbytes`` more, or raise :class:`QueueFull`."""
        # What is remembered leaves out the jobs that ended since: no reason to refuse one.
        if time.monotonic() - self._asked_at > ROOM_AGE_S or self._full(nbytes):
            self._ask()
            if full := self._full(nbytes):
                raise QueueFull(full)
        self._waiting += 1
        self._used += nbytes

    def _ask(self) -> None:
        with self._connection.pipeline(transaction=False) as pipe:
            pipe.llen(self._queue_key)
            pipe.info("memory")
            pipe.hvals(contract.CLAIMS)  # a long job's result is far larger than its pictures, whose place it takes
            self._waiting, report, claims = pipe.execute()
        self._used = report["used_memory"] + sum(map(int, claims))
        self._memory = report["maxmemory"]
        self._asked_at = time.monotonic()

    def _full(self, nbytes: int) -> str | None:
        """What has no room, as a sentence."""
        if self._waiting >= self._limit:
            return f"{self._waiting} pictures are waiting already, and no more than {self._limit} are taken on."
        if self._memory and self._used + nbytes > MEMORY_SHARE * self._memory:
            return f"The pictures that are waiting or kept fill the {self._memory >> 20} MB set aside."
        return None


def job_meta(job: Job) -> JobMeta:
    """What we stored with a job."""
    try:
        return JobMeta.model_validate(job.meta)
    except ValidationError:
        return JobMeta(model="")  # of another version


def _report(data: bytes | str) -> WorkerReport | None:
    try:
        return WorkerReport.model_validate_json(data)
    except ValidationError:
        return None  # of a worker of another version


def new_job_id() -> str:
    return uuid4().hex


@contextlib.contextmanager
def translating_errors() -> Iterator[None]:
    """Turn redis-py's errors into this module's, the only place that does."""
    try:
        yield
    except OutOfMemoryError as error:
        raise QueueFull("The memory set aside for pictures is full.") from error
    except LOST as error:
        raise QueueUnreachable("The queue is not reachable. Try again shortly.") from error
