"""Records in Redis that are not as any version of Doppel writes them: read as far as can be, or put aside.

Doppel's own Redis is private, but others are shared, restored, or served another version. Such a record must harm no
other job: it fails alone, once, and the log says so.
"""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any, cast

import redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.utils import now, utcformat

from worker import contract
from worker.contract import Failure, FailureCode, JobEvent, JobMeta, Status
from worker.job_records import RECORD_TTL_S
from worker.picture_bytes import input_key

REFUSED = "doppel:refused"  # list of what was put aside, as JSON, latest first
MAX_REFUSED = 100  # entries
RETURNS_FIELD = "doppel_returns"  # of a job's record: how often it came back from a worker that never started it
CLOCKS_DIFFER_S = 7200.0  # a wrong time zone is an hour

log = logging.getLogger("doppel.worker")


class LenientJob(Job):
    """A job that takes a field of its record for absent if RQ can't read it.

    RQ's own raises what parsing raises, which ends whoever looks at the job: worker, request, or the janitor's sweep.
    """

    def restore(self, raw_data: Mapping[bytes, bytes]) -> Any:
        raw_data = {b"data": b"", **raw_data}  # without which RQ says that there is no job
        try:
            return super().restore(raw_data)
        except Exception as error:
            log.debug("job %s has a field that can't be read: %s", self.id, error)
            return super().restore(self._readable(raw_data))

    def _readable(self, record: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """The fields of ``record`` that RQ can read, each for itself."""
        kept = {b"data": record[b"data"]}
        for name, value in record.items():
            with contextlib.suppress(Exception):
                Job(self.id, self.connection, serializer=self.serializer).restore({b"data": b"", name: value})
                kept[name] = value
        return kept


def refuse(queue: Queue, raw_id: bytes, why: str, *, running: bytes = b"") -> None:
    """Take a job out of its queue for good, and have it fail if it has a record that can say so.

    Args:
        raw_id: its id as the queue has it, which may be no text.
        running: its entry in the registry of running jobs, if it has one.
    """
    connection = queue.connection
    job_id = raw_id.decode(errors="replace")
    with connection.pipeline() as pipe:
        pipe.lrem(queue.key, 0, raw_id)  # type: ignore[arg-type]
        pipe.lrem(queue.intermediate_queue_key, 0, raw_id)  # type: ignore[arg-type]
        pipe.zrem(queue.started_job_registry.key, running)
        if not any(pipe.execute()):
            return  # another process has seen to it
    log.error("the queue %s held the job %.80r, which is put aside: %s", queue.name, job_id, why)
    entry = {"queue": queue.name, "id": job_id[:200], "why": why[:500], "at": utcformat(now())}
    with connection.pipeline() as pipe:
        pipe.lpush(REFUSED, json.dumps(entry))
        pipe.ltrim(REFUSED, 0, MAX_REFUSED - 1)
        pipe.execute()
    key = Job.redis_job_namespace_prefix.encode() + raw_id
    if connection.type(key) != b"hash":
        return
    error = Failure(code=FailureCode.CANNOT_BE_DONE, detail=f"The job's record can't be used: {why}")
    meta = JobMeta(model="", error=error).model_dump_json(exclude_none=True)
    with connection.pipeline() as pipe:
        pipe.hset(key, mapping={"status": JobStatus.FAILED.value, "ended_at": utcformat(now()), "meta": meta})
        pipe.expire(key, RECORD_TTL_S)
        pipe.delete(input_key(job_id))
        pipe.publish(contract.EVENTS, JobEvent(id=job_id, status=Status.FAILED, error=error).model_dump_json())
        pipe.execute()


def refuse_unreadable(queue: Queue) -> int:
    """Put aside what was taken from the queue and can't be a job of any kind; how many that were."""
    refused = 0
    taken = cast(list[bytes], queue.connection.lrange(queue.intermediate_queue_key, 0, -1))
    for raw_id in taken:
        if why := why_unreadable(queue.connection, raw_id):
            refuse(queue, raw_id, why)
            refused += 1
    return refused


def why_unreadable(connection: redis.Redis, raw_id: bytes) -> str | None:
    """Why this id can't be that of a job; None if it can, or if its job is gone."""
    try:
        raw_id.decode()
    except UnicodeDecodeError:
        return "its id is not text"
    kind = cast(bytes, connection.type(Job.redis_job_namespace_prefix.encode() + raw_id))
    return None if kind in (b"hash", b"none") else f"its key holds a {kind.decode()}, no record"


def is_credible(seen_at: float) -> bool:
    """Whether a report can have been written then, since the clocks of several machines differ."""
    return seen_at <= time.time() + CLOCKS_DIFFER_S
