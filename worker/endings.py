"""End the jobs of a batch, or hand one back: results, events, and RQ's records as RQ would leave them.

RQ's own way takes five round trips a job, each of which waits for the disk, and a worker that dies in the middle would
leave jobs half ended. Those that succeeded are ended by a script in one round trip; failures are rare, and RQ writes
what it wants to know of them.
"""

import traceback
from collections.abc import Sequence

from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError
from rq import Queue
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import ExecutionRegistry
from rq.job import Job, JobStatus
from rq.results import Result as RqResult
from rq.utils import now, utcformat
from rq.worker import BaseWorker, WorkerStatus

from models import logs
from worker import contract
from worker.connection import Command
from worker.contract import Status
from worker.direct_connection import DirectConnection
from worker.errors import TaskError
from worker.guarded_writes import GuardedWrites
from worker.inference_queue import forbid_cancel
from worker.job_records import CANCELABLE_FIELD
from worker.picture_bytes import input_key, output_key, pack
from worker.replies import Reply
from worker.stored_script import Script
from worker.tasks import Result, RunningJob, failure_of

NO_JOB = ""  # the status of a job that is no longer there

_SUCCESSFUL = RqResult.Type.SUCCESSFUL.value
_ARGUMENTS = 5  # of each job

SUCCEED = Script(f"""
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
    redis.call('XADD', results, 'MAXLEN', '~', 10, '*', 'type', {_SUCCESSFUL}, 'worker_name', name,
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
""")


class JobEnder:
    """Ends jobs of a queue that a worker ran.

    A job that was canceled keeps that status. One that the janitor queued again is left to its next worker.

    Args:
        redis: which knows the script ``SUCCEED``.
        record_ttl_s: how long an ended job can be looked up.
        result_ttl_s: how long its pictures are kept.
    """

    def __init__(
        self, queue: Queue, worker: BaseWorker, redis: DirectConnection, *, record_ttl_s: int, result_ttl_s: int
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._redis = redis
        self._keys = [
            *(queue.started_job_registry.key, queue.finished_job_registry.key),
            *(worker.key, worker.executions_key),
        ]
        self._record_ttl_s = record_ttl_s
        self._result_ttl_s = result_ttl_s

    def end(self, batch: Sequence[RunningJob], *, idle: bool, following: Sequence[Command] = ()) -> list[Reply]:
        """End every job of the batch.

        Args:
            idle: whether the worker then has nothing to do.
            following: commands to be run after that, in the same round trip where that can be.

        Returns:
            The replies to the commands that follow.
        """
        try:
            return self._write(batch, idle=idle, following=following)
        except OutOfMemoryError:
            # Without its input a job takes less memory.
            connection = self._worker.connection
            owned = forbid_cancel(connection, [running.key for running in batch])
            inputs = [input_key(one.id) for one, status in zip(batch, owned, strict=True) if status != b"queued"]
            if inputs:
                connection.delete(*inputs)
            for running in batch:
                self._write_in_full_memory(running, idle=idle)
        return self._redis.execute(*following) if following else []

    def hand_back(self, running: RunningJob) -> None:
        """Put a job back at the head of the queue, for another worker to start afresh. This costs it no try."""
        job, connection = running.started.job, self._worker.connection
        running.requeued = forbid_cancel(connection, [job.key]) == [JobStatus.STARTED.value.encode()]
        if not running.requeued:
            return  # canceled, and to be ended as such
        with connection.pipeline() as pipe:
            job.set_status(JobStatus.QUEUED, pipeline=pipe)
            self._worker.cleanup_execution(job, pipeline=pipe, execution=running.started.execution)
            pipe.lpush(self._queue.key, job.id)
            pipe.publish(contract.EVENTS, running.event(Status.QUEUED))
            pipe.execute()

    def _write_in_full_memory(self, running: RunningJob, *, idle: bool) -> None:
        """End one job although there may be no room for its result."""
        try:
            self._write([running], idle=idle)
        except OutOfMemoryError:
            running.result = TaskError("The memory for pictures is full: there was no room for the result.")
            self._write([running], idle=idle)

    def _write(self, batch: Sequence[RunningJob], *, idle: bool, following: Sequence[Command] = ()) -> list[Reply]:
        succeeded = [(running, running.result) for running in batch if isinstance(running.result, Result)]
        others = [running for running in batch if not isinstance(running.result, Result)]
        if others:
            self._write_failures(others, idle=idle and not succeeded)
        commands = [*(self._success(succeeded, idle=idle) if succeeded else ()), *following]
        replies = self._redis.execute(*commands) if commands else []
        return replies[len(commands) - len(following) :]

    def _success(self, succeeded: Sequence[tuple[RunningJob, Result]], *, idle: bool) -> list[Command]:
        """The commands that end jobs with their results, in one transaction."""
        ended_at = now()
        words = [self._worker.name, utcformat(ended_at), repr(ended_at.timestamp()), self._record_ttl_s, int(idle)]
        results: list[Command] = []
        for running, result in succeeded:
            running.meta.style = result.style
            started = running.started
            words += [running.id, started.execution_id, repr(started.started_at.timestamp())]
            words += [running.meta.model_dump_json(exclude_none=True), running.event(Status.SUCCEEDED)]
            if result.pictures:
                packed = pack(*result.pictures)
                results.append(("SET", output_key(running.id), packed, "EX", self._result_ttl_s))
        # Scripts copy what they get, so large values go before.
        return [("MULTI",), *results, SUCCEED.call(self._keys, words), ("EXEC",)]

    def _write_failures(self, batch: Sequence[RunningJob], *, idle: bool) -> None:
        """End jobs that failed, and clear up after those that were canceled."""
        writes = GuardedWrites(self._worker.connection)
        pipe = self._worker.connection.pipeline()
        for running in batch:
            job = running.started.job
            writes.add_job(job.key)
            # What frees memory comes first: after that, a full Redis lets the rest be written, too.
            pipe.delete(input_key(job.id))
            pipe.hdel(contract.CLAIMS, job.id)
            writes.add(
                pipe, if_status=[*(status.value for status in JobStatus if status is not JobStatus.QUEUED), NO_JOB]
            )
            if isinstance(running.result, Exception):
                self._write_failure(running, running.result, pipe)
                writes.add(pipe, if_status=[JobStatus.STARTED.value])
            self._worker.cleanup_execution(job, pipeline=pipe, execution=running.started.execution)
            if idle:
                self._worker.set_state(WorkerStatus.IDLE, pipeline=pipe)
                idle = False
            writes.add(pipe)
        writes.execute()

    def _write_failure(self, running: RunningJob, error: Exception, pipe: Pipeline) -> None:
        job, worker = running.started.job, self._worker
        job.ended_at = now()
        # RQ would try it again, but only the death of a worker is worth another try.
        with logs.about([running.meta]):
            running.meta.error = failure_of(error)
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job.save(pipeline=pipe, include_meta=False, include_result=False)
        job._handle_failure(
            "".join(traceback.format_exception(error)),
            pipe,
            worker_name=worker.name,
            execution_id=running.started.execution_id,
            execution_started_at=running.started.started_at,
            execution_ended_at=job.ended_at,
        )
        worker.increment_failed_job_count(pipe)
        worker.increment_total_working_time(job.ended_at - running.started.started_at, pipe)
        pipe.hset(job.key, "meta", running.meta.model_dump_json(exclude_none=True))
        pipe.hdel(job.key, CANCELABLE_FIELD)
        job.cleanup(self._record_ttl_s, pipeline=pipe, remove_from_queue=False)
        pipe.publish(contract.EVENTS, running.event(Status.FAILED))
