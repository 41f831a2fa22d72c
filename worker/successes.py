"""End the jobs of a batch that succeeded: their results, events and RQ's records, in one round trip.

RQ's own way takes five round trips a job, each of which waits for the disk, and a worker that dies in the middle would
leave jobs half ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rq import Queue
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import ExecutionRegistry
from rq.job import Job, JobStatus
from rq.results import Result
from rq.utils import now, utcformat
from rq.worker import BaseWorker, WorkerStatus

from worker import contract
from worker.job_records import CANCELABLE_FIELD
from worker.picture_bytes import input_key, output_key
from worker.stored_script import StoredScript

_ARGUMENTS = 5  # of each job

# A job that was canceled keeps that status. One that the janitor queued again is left to its next worker.
_SUCCEED = f"""
local wip, finished, worker, executions = unpack(KEYS)
local name, ended_at, ended, ttl, idle = unpack(ARGV)
local done, worked = 0, 0
for i = 6, #ARGV, {_ARGUMENTS} do
  local id, execution, started, meta, event = unpack(ARGV, i, i + {_ARGUMENTS - 1})
  local job, both = '{Job.redis_job_namespace_prefix}' .. id, id .. ':' .. execution
  local status = redis.call('HGET', job, 'status')
  if status == '{JobStatus.STARTED.value}' then
    redis.call('HSET', job, 'status', '{JobStatus.FINISHED.value}', 'ended_at', ended_at, 'meta', meta)
    redis.call('HDEL', job, '{CANCELABLE_FIELD}')
    redis.call('EXPIRE', job, ttl)
    local results = '{RQ_KEY_PREFIX}:results:' .. id
    redis.call('XADD', results, 'MAXLEN', '~', 10, '*', 'type', {Result.Type.SUCCESSFUL.value}, 'worker_name', name,
      'execution_id', execution, 'execution_started_at', started, 'execution_ended_at', ended)
    redis.call('EXPIRE', results, ttl)
    redis.call('ZADD', finished, math.floor(ended) + ttl, id)
    redis.call('PUBLISH', '{contract.EVENTS}', event)
    done, worked = done + 1, worked + ended - started
  elseif not status or status == '{JobStatus.CANCELED.value}' or status == '{JobStatus.QUEUED.value}' then
    redis.call('DEL', string.format('{output_key("%s")}', id))
  end
  if status ~= '{JobStatus.QUEUED.value}' then
    redis.call('DEL', string.format('{input_key("%s")}', id))
    redis.call('HDEL', '{contract.CLAIMS}', id)
  end
  redis.call('DEL', '{RQ_KEY_PREFIX}:execution:' .. both)
  redis.call('ZREM', '{ExecutionRegistry.key_template.format("")}' .. id, execution)
  redis.call('ZREM', wip, both)
  redis.call('SREM', executions, both)
end
if done > 0 then
  redis.call('HINCRBY', worker, 'successful_job_count', done)
  redis.call('HINCRBYFLOAT', worker, 'total_working_time', string.format('%.6f', worked))
end
if idle == '1' then redis.call('HSET', worker, 'state', '{WorkerStatus.IDLE.value}') end
"""


@dataclass(frozen=True)
class Success:
    """A job that succeeded."""

    job_id: str
    execution_id: str
    started_at: datetime
    packed: bytes | None  # the pictures that it made, packed
    meta: str  # JSON
    event: str  # JSON


class SuccessWriter:
    """Writes how jobs of a queue ended that a worker ran.

    Args:
        record_ttl_s: how long an ended job can be looked up.
        result_ttl_s: how long its pictures are kept.
    """

    def __init__(self, queue: Queue, worker: BaseWorker, *, record_ttl_s: int, result_ttl_s: int) -> None:
        self._worker = worker
        self._script = StoredScript(queue.connection, _SUCCEED)
        self._keys = [
            *(queue.started_job_registry.key, queue.finished_job_registry.key),
            *(worker.key, worker.executions_key),
        ]
        self._record_ttl_s = record_ttl_s
        self._result_ttl_s = result_ttl_s

    def write(self, successes: Sequence[Success], *, idle: bool) -> None:
        """End the jobs, each unless it was canceled or queued again meanwhile.

        Args:
            idle: whether the worker then has nothing to do.
        """
        ended_at = now()
        words = [self._worker.name, utcformat(ended_at), repr(ended_at.timestamp()), self._record_ttl_s, int(idle)]
        for one in successes:
            words += [one.job_id, one.execution_id, repr(one.started_at.timestamp()), one.meta, one.event]
        results = [
            ("SET", output_key(one.job_id), one.packed, "EX", self._result_ttl_s)
            for one in successes
            if one.packed is not None
        ]
        self._script.run(self._keys, words, first=results)  # scripts copy what they get, so large values go before
