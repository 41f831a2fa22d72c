"""Take jobs from the queue and mark them as running: one that is next, with those that fit its batch.

A Lua script does it in one step, so that no job is ever in neither place. A full Redis refuses the first command that
takes memory, and that of each job comes before it leaves the queue.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import cast
from uuid import uuid4

from rq import Queue
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job, JobStatus
from rq.utils import now, utcformat
from rq.worker import BaseWorker, WorkerStatus

from worker import contract
from worker.contract import LEASE_S, MAX_TRIES, JobEvent, Status
from worker.inference_queue import restored
from worker.job_records import BATCH_KEY_FIELD, CANCELABLE_FIELD, LONG_FIELD
from worker.picture_bytes import input_key
from worker.stored_script import StoredScript

WINDOW = 256  # queued jobs that are searched for ones that fit a batch
REGISTRY_EXTRA_S = 60  # by which RQ keeps its registries of executions longer than a lease
FIELDS = (BATCH_KEY_FIELD, "retries_left", LONG_FIELD, "origin", "created_at", "enqueued_at", "data", "meta")

_RUNNING = JobEvent(id="%s", status=Status.RUNNING).model_dump_json(exclude_none=True)

# A job that was tried before stays in the queue, and takes none with it: its worker died, so it must run alone.
_START = f"""
local queue, intermediate, wip, worker, executions = unpack(KEYS)
local first, key, at_most, name, batch, at, seconds, lease_end = unpack(ARGV)
local started = {{}}

local function read(id, execution)
  local record = redis.call('HMGET', '{Job.redis_job_namespace_prefix}' .. id, '{"', '".join(FIELDS)}')
  started[#started + 1] = {{id, execution, record, redis.call('GET', string.format('{input_key("%s")}', id))}}
end

local function start(id)
  local job, execution = '{Job.redis_job_namespace_prefix}' .. id, batch .. string.format('%02x', #started)
  if redis.call('HGET', job, 'status') ~= '{JobStatus.QUEUED.value}' then return end  -- it was canceled, or expired
  local both = id .. ':' .. execution
  local record, registry = '{RQ_KEY_PREFIX}:execution:' .. both, '{ExecutionRegistry.key_template.format("")}' .. id
  redis.call('HSET', record, 'id', execution, 'job_id', id, 'created_at', seconds, 'last_heartbeat', seconds,
    'worker_name', name)
  redis.call('EXPIRE', record, {LEASE_S})
  redis.call('ZADD', registry, lease_end + {REGISTRY_EXTRA_S}, execution)
  redis.call('EXPIRE', registry, {LEASE_S + REGISTRY_EXTRA_S})
  redis.call('ZADD', wip, lease_end, both)
  redis.call('SADD', executions, both)
  redis.call('EXPIRE', executions, {LEASE_S + REGISTRY_EXTRA_S})
  redis.call('HSET', job, 'status', '{JobStatus.STARTED.value}', 'started_at', at, 'last_heartbeat', at,
    'worker_name', name, '{CANCELABLE_FIELD}', 1)
  redis.call('PERSIST', job)
  redis.call('HSET', worker, 'state', '{WorkerStatus.BUSY.value}')
  redis.call('PUBLISH', '{contract.EVENTS}', string.format('{_RUNNING}', id))
  read(id, execution)
end

for _, both in ipairs(redis.call('SMEMBERS', executions)) do
  local id, execution = string.match(both, '^(.-):(' .. batch .. '%x%x)$')
  if id then read(id, execution) end
end
if #started > 0 then return started end  -- the reply to the same call was lost

if key == '' then
  start(first)
  redis.call('LREM', intermediate, 1, first)
  redis.call('LREM', queue, 1, first)
  if #started == 0 then return started end
  local record = started[1][3]
  if not record[1] or record[2] ~= '{MAX_TRIES - 1}' or record[3] then return started end
  key = record[1]
end
if #started == tonumber(at_most) then return started end
for _, id in ipairs(redis.call('LRANGE', queue, 0, {WINDOW - 1})) do
  local job = redis.pcall('HMGET', '{Job.redis_job_namespace_prefix}' .. id, '{BATCH_KEY_FIELD}', 'retries_left')
  if job[1] == key and job[2] == '{MAX_TRIES - 1}' then
    start(id)
    redis.call('LREM', queue, 1, id)
    if #started == tonumber(at_most) then break end
  end
end
return started
"""

_PICK_SHORT = f"""
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local job = redis.pcall('HMGET', '{Job.redis_job_namespace_prefix}' .. id, '{LONG_FIELD}', 'retries_left')
  if not job[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LPUSH', KEYS[2], id)
    redis.call('LREM', KEYS[1], 1, id)
    return id
  end
end
"""


@dataclass(frozen=True)
class StartedJob:
    """A job that was marked as running, as it was read then."""

    worker: BaseWorker
    id: str
    execution_id: str
    started_at: datetime
    fields: dict[bytes, bytes]  # those of ``FIELDS`` that it has
    packed: bytes | None  # its pictures, packed; None if they expired

    @property
    def batch_key(self) -> str | None:
        """That of the jobs that may run with it; None for one that must run alone."""
        if LONG_FIELD.encode() in self.fields or not self.first_try:
            return None
        return self.fields.get(BATCH_KEY_FIELD.encode(), b"").decode(errors="replace") or None

    @property
    def first_try(self) -> bool:
        return self.fields.get(b"retries_left") == b"%d" % (MAX_TRIES - 1)

    @cached_property
    def job(self) -> Job:
        """For what RQ does with it."""
        job = restored(self.worker.connection, self.id, self.fields)
        job.started_at = job.last_heartbeat = self.started_at
        job.worker_name = self.worker.name
        return job

    @cached_property
    def execution(self) -> Execution:
        """For what RQ does with it."""
        execution = Execution(self.execution_id, self.id, self.worker.connection, self.worker.name)
        execution.created_at = execution.last_heartbeat = self.started_at
        return execution


class JobStarter:
    """Takes jobs from a queue for a worker, oldest first."""

    def __init__(self, queue: Queue, worker: BaseWorker) -> None:
        self._worker = worker
        self._start = StoredScript(queue.connection, _START)
        self._pick_short = StoredScript(queue.connection, _PICK_SHORT)
        self._lists = [queue.key, queue.intermediate_queue_key]
        self._keys = [*self._lists, queue.started_job_registry.key, worker.key, worker.executions_key]

    def start(self, job_id: str, at_most: int) -> list[StartedJob]:
        """Start a job that is in the intermediate list, and those that fit its batch, ``at_most`` in all.

        Args:
            job_id: empty for that at the head of the queue.

        Returns:
            The jobs; none if the first is no longer there to be started.
        """
        return self._started(job_id, "", at_most)

    def start_compatible(self, batch_key: str, at_most: int) -> list[StartedJob]:
        """Start up to ``at_most`` jobs of this batch key."""
        return self._started("", batch_key, at_most)

    def _started(self, job_id: str, batch_key: str, at_most: int) -> list[StartedJob]:
        at = now()
        seconds, batch = at.timestamp(), uuid4().hex[:-2]
        arguments = [job_id, batch_key, at_most, self._worker.name, batch]
        arguments += [utcformat(at), repr(seconds), int(seconds) + LEASE_S]
        return [
            StartedJob(self._worker, id.decode(), execution.decode(), at, _present(record), packed)
            for id, execution, record, packed in self._start.run(self._keys, arguments)
        ]

    def pick_next(self) -> str | None:
        """Move the oldest job to the intermediate list, as RQ does, but wait for none; None if there is none."""
        job_id = self._worker.connection.lmove(*self._lists)
        return None if job_id is None else cast(bytes, job_id).decode()

    def pick_short(self) -> str | None:
        """Move one job that is not a long one, for whichever model, to the intermediate list; None if there is none."""
        job_id = self._pick_short.run(self._lists, ())
        return None if job_id is None else job_id.decode()


def _present(record: list[bytes | None]) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in zip(FIELDS, record, strict=True) if value is not None}
