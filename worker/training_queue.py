"""The client's end of the training queue. What becomes of a run is in its folder; here is only whose turn it is."""

import contextlib
import time

import redis
from pydantic import BaseModel, ValidationError
from rq import Queue, Retry
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from worker import contract
from worker.inference_queue import RECORD_TTL_S, fetch_jobs, translating_errors


class TrainerReport(BaseModel):
    """What a trainer says of itself with each heartbeat."""

    name: str
    pid: int
    host: str
    memory_mb: int  # of the machine
    gpu_memory_mb: list[int]  # of each GPU; empty on a machine without
    cores: int
    reserved_mb: int = 0  # of each GPU, that a training leaves to others
    seen_at: float  # Unix time, seconds


def rq_training_queue(connection: redis.Redis) -> Queue:
    """The RQ queue that clients and trainers share."""
    return Queue(contract.TRAINING_QUEUE, connection=connection, serializer=JSONSerializer, default_timeout=-1)


def attempt_id(run_id: str, attempt: int) -> str:
    """Each attempt at a run is an RQ job of its own."""
    return f"{run_id}-{attempt}"


class TrainingQueue:
    """A blocking client; every method raises :class:`worker.inference_queue.QueueUnreachable` when Redis stays away."""

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self._queue = rq_training_queue(connection)

    def submit(self, run_id: str, attempt: int, *, first: bool = False) -> None:
        """Queue an attempt at a run; ``first`` before all others that wait."""
        with translating_errors():
            self._queue.enqueue(
                contract.TRAIN,
                kwargs={"run": run_id, "attempt": attempt},
                job_id=attempt_id(run_id, attempt),
                job_timeout=-1,
                retry=Retry(max=contract.MAX_TRIES - 1),  # of a trainer that died; what a run does wrong ends it
                result_ttl=RECORD_TTL_S,
                failure_ttl=RECORD_TTL_S,
                at_front=first,
            )

    def status(self, run_id: str, attempt: int) -> JobStatus | None:
        """Where the attempt stands; None if the queue does not know it (any more)."""
        with translating_errors():
            job = fetch_jobs(self.connection, [attempt_id(run_id, attempt)])[0]
        return None if job is None else job.get_status(refresh=False)

    def position(self, run_id: str, attempt: int) -> int | None:
        """How many attempts wait before this one; None if it does not wait."""
        with translating_errors():
            return self._queue.get_job_position(attempt_id(run_id, attempt))

    def withdraw(self, run_id: str, attempt: int) -> bool:
        """Take an attempt that waits out of the queue; False if none waits."""
        with translating_errors():
            removed = self.connection.lrem(self._queue.key, 1, attempt_id(run_id, attempt))
            if removed:
                self.connection.delete(Job.key_for(attempt_id(run_id, attempt)))
            return bool(removed)

    def kill(self, run_id: str, attempt: int) -> None:
        """End an attempt that runs, in the middle of whatever it does."""
        with translating_errors(), contextlib.suppress(InvalidJobOperation, NoSuchJobError):  # it has ended
            send_stop_job_command(self.connection, attempt_id(run_id, attempt), serializer=JSONSerializer)

    def trainers(self, *, seen_within_s: float) -> list[TrainerReport]:
        """The trainers that were heard of within ``seen_within_s``."""
        with translating_errors():
            reports = self.connection.hvals(contract.TRAINERS)
        oldest = time.time() - seen_within_s
        trainers = [report for report in map(_report, reports) if report is not None]
        return [trainer for trainer in trainers if trainer.seen_at >= oldest]


def _report(data: bytes | str) -> TrainerReport | None:
    try:
        return TrainerReport.model_validate_json(data)
    except ValidationError:
        return None  # of a trainer of another version
