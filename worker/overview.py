"""What the queues hold, for people who look at a server: how much waits and since when, and a client's newest jobs."""

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import redis
from pydantic import BaseModel
from rq.job import Job

from worker import contract
from worker.inference_queue import rq_queue, translating_errors
from worker.job_records import owned

QUEUES = {
    "pictures": contract.INFERENCE_QUEUE,
    "uploads": contract.PREPARATION_QUEUE,
    "fetches": contract.FETCH_QUEUE,
    "training": contract.TRAINING_QUEUE,
}


class QueueLoad(BaseModel):
    """How much one queue has to do."""

    waiting: int
    running: int
    oldest_waiting_s: float | None  # how long the job at its head has waited


class Load(BaseModel):
    """What the queues have to do, and the memory that their Redis takes for it."""

    pictures: QueueLoad
    uploads: QueueLoad
    fetches: QueueLoad  # of models' weights
    training: QueueLoad
    redis_used_mb: int
    redis_limit_mb: int  # 0: no limit


class Overview:
    """Blocking. Every method raises :class:`worker.errors.QueueUnreachable` if Redis does not answer."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection

    def load(self) -> Load:
        """What the queues have to do now. Two round trips."""
        queues = [rq_queue(self._connection, name) for name in QUEUES.values()]
        with translating_errors():
            with self._connection.pipeline(transaction=False) as pipe:
                pipe.info("memory")
                for queue in queues:
                    pipe.llen(queue.key)
                    pipe.zcard(queue.started_job_registry.key)
                    pipe.lindex(queue.key, 0)
                memory, *counts = pipe.execute()
            heads = [head.decode(errors="replace") if head else None for head in counts[2::3]]
            created = dict(self._created([head for head in heads if head]))
        ages = [_age_s(created.get(head)) if head else None for head in heads]
        loads = [
            QueueLoad(waiting=waiting, running=running, oldest_waiting_s=age)
            for waiting, running, age in zip(counts[0::3], counts[1::3], ages, strict=True)
        ]
        return Load(
            **dict(zip(QUEUES, loads, strict=True)),
            redis_used_mb=memory["used_memory"] >> 20,
            redis_limit_mb=memory["maxmemory"] >> 20,
        )

    def remember(self, client: str, job_id: str) -> None:
        """Remember whose job this is."""
        with translating_errors(), self._connection.pipeline(transaction=False) as pipe:
            for command in owned(client, job_id):
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            pipe.execute()

    def newest(self, *clients: str, limit: int, before: str | None = None) -> list[str]:
        """Ids of the newest of the ``MOST_OWN_JOBS`` jobs that are remembered of each client, newest first.

        The record of a job may be gone before its id is. Two round trips at most.

        Args:
            before: the id of a job; only those that are older than it, so none if it is no longer remembered.
        """
        keys = [contract.JOBS_OF + client for client in clients]
        newest: float | str = math.inf
        with translating_errors(), self._connection.pipeline(transaction=False) as pipe:
            if before is not None:
                for key in keys:
                    pipe.zscore(key, before)
                at = [score for score in pipe.execute() if score is not None]
                if not at:
                    return []
                newest = f"({at[0]!r}"
            for key in keys:
                pipe.zrange(key, newest, -math.inf, desc=True, byscore=True, offset=0, num=limit, withscores=True)
            found = sorted((at, job_id) for page in pipe.execute() for job_id, at in page)
        page = found[: -limit - 1 : -1]
        return [job_id.decode() for _, job_id in page if job_id.isascii()]  # others are none of ours

    def _created(self, job_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Each job that has a record, and when it was made, in the form of ISO 8601."""
        if not job_ids:
            return []
        with self._connection.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(Job.key_for(job_id), "created_at")
            moments = pipe.execute()
        return [
            (job_id, moment.decode(errors="replace")) for job_id, moment in zip(job_ids, moments, strict=True) if moment
        ]


def _age_s(created: str | None) -> float | None:
    if created is None:
        return None
    moment = datetime.fromisoformat(created)
    return max(0.0, time.time() - moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
