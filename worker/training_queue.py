"""A client for the training queue, which decides whose turn it is. All else about a run is in its folder."""

import contextlib
import time
from collections.abc import Sequence

import redis
from pydantic import BaseModel, ValidationError
from rq import Queue, Retry
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from models.store.run_life import Turn
from worker import contract
from worker.allowances import BEGUN_S, Allowance
from worker.inference_queue import fetch_jobs, translating_errors
from worker.job_records import RECORD_TTL_S
from worker.malformed_records import LenientJob, is_credible

_TURNS = {JobStatus.QUEUED: Turn.WAITING, JobStatus.STARTED: Turn.STARTED, JobStatus.FAILED: Turn.FAILED}


class TrainerReport(BaseModel):
    """A trainer's report, written with each heartbeat."""

    name: str
    pid: int
    host: str
    memory_mb: int  # of the machine
    gpu_memory_mb: list[int]  # of each GPU; empty without one
    cores: int
    reserved_mb: int = 0  # of each GPU; trainings leave it to others
    seen_at: float  # Unix time, seconds


def rq_training_queue(connection: redis.Redis) -> Queue:
    """The RQ queue that clients and trainers share."""
    return Queue(
        contract.TRAINING_QUEUE,
        connection=connection,
        serializer=JSONSerializer,
        default_timeout=-1,
        job_class=LenientJob,
    )


def attempt_id(run_id: str, attempt: int) -> str:
    """Each attempt at a run is an RQ job of its own."""
    return f"{run_id}-{attempt}"


class TrainingQueue:
    """A blocking client. Every method raises :class:`worker.errors.QueueUnreachable` if Redis does not answer."""

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self._queue = rq_training_queue(connection)

    def take_allowance(self, allowance: Allowance, run_ids: Sequence[str], attempt: int = 1) -> None:
        """Count an attempt at each of these runs, which are about to be queued.

        Raises:
            LimitReached: they would be too many.
        """
        with translating_errors():
            ids = [attempt_id(run_id, attempt) for run_id in run_ids]
            allowance.take(self.connection, ids, contract.TRAINING_RETRY_AFTER_S)

    def submit(self, run_id: str, attempt: int) -> None:
        """Queue an attempt at a run."""
        with translating_errors():
            self._queue.enqueue(
                contract.TRAIN,
                kwargs={"run": run_id, "attempt": attempt},
                job_id=attempt_id(run_id, attempt),
                job_timeout=-1,
                retry=Retry(max=contract.MAX_TRIES - 1),  # when a trainer dies; a run that fails is not tried again
                result_ttl=RECORD_TTL_S,
                failure_ttl=RECORD_TTL_S,
            )

    def waiting(self) -> int:
        """How many attempts wait for a trainer."""
        with translating_errors():
            return self.connection.llen(self._queue.key)

    def turn(self, run_id: str, attempt: int) -> Turn | None:
        """Where the attempt is in the queue; None if the queue does not know it, or no longer."""
        with translating_errors():
            job = fetch_jobs(self.connection, [attempt_id(run_id, attempt)])[0]
        return None if job is None else _TURNS.get(job.get_status(refresh=False), Turn.ENDED)

    def position(self, run_id: str, attempt: int) -> int | None:
        """How many attempts are ahead of this one; None if it is not waiting."""
        with translating_errors():
            return self._queue.get_job_position(attempt_id(run_id, attempt))

    def withdraw(self, run_id: str, attempt: int) -> bool:
        """Take an attempt out of the queue; False if it is not waiting."""
        with translating_errors():
            removed = self.connection.lrem(self._queue.key, 1, attempt_id(run_id, attempt))
            if removed:
                # What counts the runs of an API key looks for a record, and waits for one that is not there.
                key = Job.key_for(attempt_id(run_id, attempt))
                with self.connection.pipeline() as pipe:
                    pipe.hset(key, "status", JobStatus.CANCELED.value)
                    pipe.expire(key, BEGUN_S)
                    pipe.execute()
            return bool(removed)

    def kill(self, run_id: str, attempt: int) -> None:
        """Kill the training of an attempt."""
        with translating_errors(), contextlib.suppress(InvalidJobOperation, NoSuchJobError):  # it has ended
            send_stop_job_command(self.connection, attempt_id(run_id, attempt), serializer=JSONSerializer)

    def trainers(self, *, seen_within_s: float) -> list[TrainerReport]:
        """The trainers that have reported within ``seen_within_s``."""
        with translating_errors():
            reports = self.connection.hvals(contract.TRAINERS)
        oldest = time.time() - seen_within_s
        trainers = [report for report in map(_report, reports) if report is not None]
        return [trainer for trainer in trainers if trainer.seen_at >= oldest and is_credible(trainer.seen_at)]


def _report(data: bytes | str) -> TrainerReport | None:
    try:
        return TrainerReport.model_validate_json(data)
    except ValidationError:
        return None  # written by a trainer of another version
