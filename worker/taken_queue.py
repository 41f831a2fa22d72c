"""The inference queue as RQ sees it: it hands out jobs that are marked as running, with those that fit their batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.job import Job

from worker.batching import JobStarter, StartedJob


@dataclass
class Taken:
    """Jobs that a worker has taken, as RQ passes them from where it waits to where it has a job run."""

    started: list[StartedJob]
    redis_server_version: object = None  # which RQ sets

    @property
    def id(self) -> str:
        return self.started[0].id


class TakenQueue(Queue):
    """Hands out jobs that are marked as running, with those that fit their batch."""

    starter: JobStarter
    max_batch: int

    @classmethod
    def dequeue_any(  # type: ignore[override]
        cls, queues: Sequence["TakenQueue"], timeout: int | None, *others: Any, **options: Any
    ) -> tuple[Job, Queue] | None:
        [queue] = queues
        if timeout is None:
            started = queue.starter.start_next(queue.max_batch)
        else:
            started = queue.starter.wait(timeout, queue.max_batch)
        if started:
            return cast(Job, Taken(started)), queue
        if timeout is None:
            return None
        raise DequeueTimeout(timeout, [queue.key])
