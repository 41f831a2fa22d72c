"""Take jobs from the queue and mark them as running: one that is next, with those that fit its batch.

A Lua script does it in one step, so that no job is ever in neither place. A full Redis refuses the first command that
takes memory, and that of each job comes before it leaves the queue.

To wait for a job, a worker sends the script right behind RQ's own command, which moves a job to the intermediate list
as soon as there is one. Redis then runs both before it flushes the job itself to disk, so a job that finds an idle
worker waits neither for another round trip nor for another flush.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import uuid4

from redis.exceptions import OutOfMemoryError
from rq import Queue
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job, JobStatus
from rq.worker import BaseWorker, WorkerStatus

from worker import contract
from worker.connection import Command
from worker.contract import LEASE_S, MAX_TRIES, JobEvent, Status
from worker.direct_connection import DirectConnection
from worker.fair_order import LONG_FIELD, NOW, SHORT_NOW, TURN_FIELD
from worker.inference_queue import restored
from worker.job_records import BATCH_KEY_FIELD, CANCELABLE_FIELD
from worker.malformed_records import refuse_unreadable
from worker.picture_bytes import input_key
from worker.replies import Reply
from worker.stored_script import Script

FULL_PAUSE_S = 0.1  # before a full Redis is asked again
WINDOW = 256  # queued jobs that are searched for ones that fit a batch
MOST_BYTES = 64 << 10  # of a job's pictures that the script returns: what passes through Lua is copied two times more
REGISTRY_EXTRA_S = 60  # by which RQ keeps its registries of executions longer than a lease
FIELDS = (BATCH_KEY_FIELD, "retries_left", LONG_FIELD, "origin", "created_at", "enqueued_at", "data", "meta")

_RUNNING = JobEvent(id="%s", status=Status.RUNNING).model_dump_json(exclude_none=True)

# Which job is the first of the batch: one named that is in the intermediate list, the one that came there last, that at
# the head of the queue, or none (then the others are those that fit the batch key).
NAMED, MOVED, HEAD, NONE = "named", "moved", "head", "none"

# A job that was tried before stays in the queue, and takes none with it: its worker died, so it must run alone.
START = Script(f"""
local queue, intermediate, wip, worker, executions = unpack(KEYS)
local which, first, key, at_most, name, batch = unpack(ARGV)
local started = {{}}

local time = redis.call('TIME')
local seconds = tonumber(time[1])
local exact, lease_end = string.format('%d.%06d', seconds, time[2]), seconds + {LEASE_S}

local function written()  -- the time as RQ writes it; the date by Howard Hinnant's civil_from_days
  local days = math.floor(seconds / 86400) + 719468
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day + 2) / 153)
  day = day - math.floor((153 * month + 2) / 5) + 1
  year = year + era * 400
  if month < 10 then month = month + 3 else month, year = month - 9, year + 1 end
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, math.floor(seconds / 3600) % 24,
    math.floor(seconds / 60) % 60, seconds % 60, time[2])
end

local at = written()

local function read(id, execution)
  local record = redis.call('HMGET', '{Job.redis_job_namespace_prefix}' .. id, '{"', '".join(FIELDS)}')
  local key = string.format('{input_key("%s")}', id)
  local packed = redis.pcall('STRLEN', key)
  if type(packed) == 'table' then packed = false  -- the key holds something else
  elseif packed <= {MOST_BYTES} then packed = redis.call('GET', key) end
  started[#started + 1] = {{id, execution, record, packed}}
end

local function is_unreadable(id)
  local status = redis.pcall('HGET', '{Job.redis_job_namespace_prefix}' .. id, 'status')
  return string.find(id, '[\\128-\\255]') or (type(status) == 'table' and status.err)
end

local function advance(clock, turn)  -- a clock of the queue's order
  local now = tonumber(redis.call('HGET', '{contract.TURNS}', clock)) or 0
  if turn > now then redis.call('HSET', '{contract.TURNS}', clock, string.format('%.0f', turn)) end
end

local function start(id)
  local job, execution = '{Job.redis_job_namespace_prefix}' .. id, batch .. string.format('%02x', #started)
  local known = redis.call('HMGET', job, 'status', '{TURN_FIELD}')
  if known[1] ~= '{JobStatus.QUEUED.value}' then return end  -- it was canceled, or expired
  local both = id .. ':' .. execution
  local record, registry = '{RQ_KEY_PREFIX}:execution:' .. both, '{ExecutionRegistry.key_template.format("")}' .. id
  redis.call('HSET', record, 'id', execution, 'job_id', id, 'created_at', exact, 'last_heartbeat', exact,
    'worker_name', name)
  redis.call('EXPIRE', record, {LEASE_S})
  local added = redis.pcall('ZADD', registry, lease_end + {REGISTRY_EXTRA_S}, execution)
  if type(added) == 'table' then  -- the key holds something else
    redis.call('DEL', registry)
    redis.call('ZADD', registry, lease_end + {REGISTRY_EXTRA_S}, execution)
  end
  redis.call('EXPIRE', registry, {LEASE_S + REGISTRY_EXTRA_S})
  redis.call('ZADD', wip, lease_end, both)
  redis.call('SADD', executions, both)
  redis.call('EXPIRE', executions, {LEASE_S + REGISTRY_EXTRA_S})
  redis.call('HSET', job, 'status', '{JobStatus.STARTED.value}', 'started_at', at, 'last_heartbeat', at,
    'worker_name', name, '{CANCELABLE_FIELD}', 1)
  if known[2] then
    redis.call('HDEL', job, '{TURN_FIELD}')
    if #started == 0 and which ~= '{NONE}' then
      advance(which == '{NAMED}' and '{SHORT_NOW}' or '{NOW}', tonumber(known[2]))
    end
  end
  redis.call('PERSIST', job)
  redis.call('HSET', worker, 'state', '{WorkerStatus.BUSY.value}')
  redis.call('PUBLISH', '{contract.EVENTS}', string.format('{_RUNNING}', id))
  read(id, execution)
end

for _, both in ipairs(redis.call('SMEMBERS', executions)) do
  local id, execution = string.match(both, '^(.-):(' .. batch .. '%x%x)$')
  if id then read(id, execution) end
end
if #started > 0 then return {{at, started}} end  -- the reply to the same call was lost

if which ~= '{NONE}' then
  repeat
    if which == '{MOVED}' then first = redis.call('LINDEX', intermediate, -1) end
    if which == '{HEAD}' then first = redis.call('LINDEX', queue, 0) end
    if not first then return {{at, started}} end
    if is_unreadable(first) then  -- the intermediate list is where the worker looks for it
      if which == '{HEAD}' then redis.call('RPUSH', intermediate, first) end
      redis.call('LREM', queue, 1, first)
      return {{at, started, 1}}
    end
    start(first)
    redis.call('LREM', intermediate, 1, first)
    redis.call('LREM', queue, 1, first)
  until #started > 0 or which == '{NAMED}'
  if #started == 0 then return {{at, started}} end
  local record = started[1][3]
  if not record[1] or record[2] ~= '{MAX_TRIES - 1}' or record[3] then return {{at, started}} end
  key = record[1]
end
if #started == tonumber(at_most) or key == '' then return {{at, started}} end
for _, id in ipairs(redis.call('LRANGE', queue, 0, {WINDOW - 1})) do
  local job = redis.pcall('HMGET', '{Job.redis_job_namespace_prefix}' .. id, '{BATCH_KEY_FIELD}', 'retries_left')
  if job[1] == key and job[2] == '{MAX_TRIES - 1}' and not string.find(id, '[\\128-\\255]') then
    start(id)
    redis.call('LREM', queue, 1, id)
    if #started == tonumber(at_most) then break end
  end
end
return {{at, started}}
""")

PICK_SHORT = Script(f"""
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local job = redis.pcall('HMGET', '{Job.redis_job_namespace_prefix}' .. id, '{LONG_FIELD}', 'retries_left')
  if not job[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LPUSH', KEYS[2], id)
    redis.call('LREM', KEYS[1], 1, id)
    return id
  end
end
""")


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


class StartCall:
    """A call of the script. Sent again, it gives the jobs that it started the first time."""

    def __init__(
        self,
        queue: Queue,
        worker: BaseWorker,
        redis: DirectConnection,
        keys: Sequence[str],
        which: str,
        at_most: int,
        job_id: str,
        key: str,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._redis = redis
        self._keys = keys
        self._batch = uuid4().hex[:-2]
        self.command = self._command(which, job_id, key, at_most)

    def recall(self) -> Command:
        """The command that only tells which jobs were started, if the other one was run."""
        return self._command(NONE, "", "", 0)

    def _command(self, which: str, job_id: str, key: str, at_most: int) -> Command:
        return START.call(self._keys, [which, job_id, key, at_most, self._worker.name, self._batch])

    def started(self, reply: Reply) -> list[StartedJob]:
        """The jobs that a reply to either command tells of. Large pictures are fetched now.

        Raises:
            RedisError: a picture could not be fetched. The jobs run until their leases end, and are then tried again.
        """
        at, jobs, *unreadable = reply
        if unreadable:
            refuse_unreadable(self._queue)
        started_at = datetime.fromisoformat(at.decode())
        large = [("GET", input_key(id.decode())) for id, _, _, packed in jobs if isinstance(packed, int)]
        fetched = iter(self._redis.execute(*large) if large else ())
        return [
            StartedJob(
                self._worker,
                id.decode(),
                execution.decode(),
                started_at,
                _present(record),
                next(fetched) if isinstance(packed, int) else packed,
            )
            for id, execution, record, packed in jobs
        ]


class JobStarter:
    """Takes jobs from a queue for a worker, in the order of the queue.

    Args:
        redis: which knows the scripts ``START`` and ``PICK_SHORT``.
    """

    def __init__(self, queue: Queue, worker: BaseWorker, redis: DirectConnection) -> None:
        self._queue = queue
        self._worker = worker
        self._redis = redis
        self._lists = [queue.key, queue.intermediate_queue_key]
        self._keys = [*self._lists, queue.started_job_registry.key, worker.key, worker.executions_key]
        self._waiting: StartCall | None = None

    def wait(self, timeout_s: float, at_most: int) -> list[StartedJob]:
        """Start the next job, and those that fit its batch; none if none comes within ``timeout_s``."""
        self._waiting = self._call(MOVED, at_most=at_most)
        move = ("BLMOVE", *self._lists, "LEFT", "RIGHT", timeout_s)
        try:
            _, reply = self._redis.execute(move, self._waiting.command)
        except OutOfMemoryError:  # while Redis is full, nothing can be taken
            time.sleep(FULL_PAUSE_S)
            return self.interrupted()
        started, self._waiting = self._waiting.started(reply), None
        return started

    def interrupted(self) -> list[StartedJob]:
        """The jobs that were started all the same when :meth:`wait` was left by an exception, such as a signal's."""
        if self._waiting is None:
            return []
        unseen, self._waiting = self._waiting, None
        return unseen.started(self._redis.execute(unseen.recall())[0])

    def next_call(self, at_most: int) -> StartCall:
        """For those who send it with other commands: start the job at the head of the queue, if there is one."""
        return self._call(HEAD, at_most=at_most)

    def start_next(self, at_most: int) -> list[StartedJob]:
        """Start the job at the head of the queue, and those that fit its batch, ``at_most`` in all; none if none is."""
        return self._started(self.next_call(at_most))

    def start(self, job_id: str, at_most: int) -> list[StartedJob]:
        """Start a job that is in the intermediate list, and those that fit its batch, ``at_most`` in all.

        Returns:
            The jobs; none if the first is no longer there to be started.
        """
        return self._started(self._call(NAMED, job_id=job_id, at_most=at_most))

    def start_compatible(self, batch_key: str, at_most: int) -> list[StartedJob]:
        """Start up to ``at_most`` jobs of this batch key."""
        return self._started(self._call(NONE, key=batch_key, at_most=at_most))

    def _call(self, which: str, *, at_most: int, job_id: str = "", key: str = "") -> StartCall:
        return StartCall(self._queue, self._worker, self._redis, self._keys, which, at_most, job_id, key)

    def _started(self, call: StartCall) -> list[StartedJob]:
        return call.started(self._redis.execute(call.command)[0])

    def pick_short(self) -> str | None:
        """Move one job that is not a long one, for whichever model, to the intermediate list; None if there is none."""
        [job_id] = self._redis.execute(PICK_SHORT.call(self._lists, ()))
        return None if job_id is None else job_id.decode()


def _present(record: list[bytes | None]) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in zip(FIELDS, record, strict=True) if value is not None}
