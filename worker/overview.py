"""What the queues hold, for people who look at a server: how much waits and since when, and the newest jobs."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import redis
from pydantic import BaseModel
from rq.job import Job
from rq.registry import BaseRegistry
from rq.utils import parse_composite_key

from worker import contract
from worker.inference_queue import rq_queue, translating_errors

NEWEST = 500  # jobs of each state and queue among which the newest are looked for


class QueueLoad(BaseModel):
    """How much one queue has to do."""

    waiting: int
    running: int
    oldest_waiting_s: float | None  # how long the job at its head has waited


class Load(BaseModel):
    """What the three queues have to do, and the memory that their Redis takes for it."""

    pictures: QueueLoad
    uploads: QueueLoad
    training: QueueLoad
    redis_used_mb: int
    redis_limit_mb: int  # 0: no limit


class Overview:
    """A blocking reader. Every method raises :class:`worker.errors.QueueUnreachable` if Redis does not answer."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection

    def load(self) -> Load:
        """What the queues have to do now. Two round trips."""
        names = (contract.INFERENCE_QUEUE, contract.PREPARATION_QUEUE, contract.TRAINING_QUEUE)
        queues = [rq_queue(self._connection, name) for name in names]
        with translating_errors():
            with self._connection.pipeline(transaction=False) as pipe:
                pipe.info("memory")
                for queue in queues:
                    pipe.llen(queue.key)
                    pipe.zcard(queue.started_job_registry.key)
                    pipe.lindex(queue.key, 0)
                memory, *counts = pipe.execute()
            heads = [head.decode() if head else None for head in counts[2::3]]
            created = dict(self._created([head for head in heads if head]))
        ages = [_age_s(created.get(head)) if head else None for head in heads]
        loads = [
            QueueLoad(waiting=waiting, running=running, oldest_waiting_s=age)
            for waiting, running, age in zip(counts[0::3], counts[1::3], ages, strict=True)
        ]
        return Load(
            pictures=loads[0],
            uploads=loads[1],
            training=loads[2],
            redis_used_mb=memory["used_memory"] >> 20,
            redis_limit_mb=memory["maxmemory"] >> 20,
        )

    def newest(self, *, limit: int, before: str | None = None) -> list[str]:
        """Ids of the jobs whose records are kept, newest first, among the newest ``NEWEST`` of each state.

        Args:
            before: the id of a job; only those that are older than it.
        """
        with translating_errors():
            dated = sorted(self._created(self._kept()), key=lambda pair: (pair[1], pair[0]), reverse=True)
        ids = [job_id for job_id, _ in dated]
        start = ids.index(before) + 1 if before in ids else 0
        return ids[start : start + limit]

    def _kept(self) -> Sequence[str]:
        with self._connection.pipeline(transaction=False) as pipe:
            for name in contract.JOB_QUEUES:
                queue = rq_queue(self._connection, name)
                pipe.lrange(queue.key, -NEWEST, -1)
                ended: list[BaseRegistry] = [
                    queue.finished_job_registry,
                    queue.failed_job_registry,
                    queue.canceled_job_registry,
                ]
                for registry in (queue.started_job_registry, *ended):
                    pipe.zrange(registry.key, 0, NEWEST - 1, desc=True)
            found = [entry.decode() for entries in pipe.execute() for entry in cast(list[bytes], entries)]
        return list(dict.fromkeys(parse_composite_key(entry)[0] if ":" in entry else entry for entry in found))

    def _created(self, job_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Each job that has a record, and when it was made, in the form of ISO 8601."""
        if not job_ids:
            return []
        with self._connection.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(Job.key_for(job_id), "created_at")
            moments = pipe.execute()
        return [(job_id, moment.decode()) for job_id, moment in zip(job_ids, moments, strict=True) if moment]


def _age_s(created: str | None) -> float | None:
    if created is None:
        return None
    moment = datetime.fromisoformat(created)
    return max(0.0, time.time() - moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
