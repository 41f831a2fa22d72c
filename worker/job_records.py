"""The record of an inference job as RQ has it, without what RQ does to write it.

RQ writes a job by way of several objects and some thirty commands, which takes longer than to decode a small picture.
What every job goes through is therefore written here and in two scripts (``batching.py``, ``endings.py``). A test
compares the records with those that RQ leaves. What is rare (a failure, a job that is handed back, a renewed lease) RQ
writes.
"""

import time
import zlib
from collections.abc import Sequence

from rq import Queue
from rq.job import Job, JobStatus
from rq.utils import now, utcformat

from worker import contract
from worker.allowances import ALLOW, Allowance
from worker.connection import Command
from worker.contract import MAX_TRIES, JobMeta, Task
from worker.fair_order import BYTES_FIELD, LONG_FIELD, OWNER_FIELD, PLACE, RUN_OR_PLACE, WORK_FIELD
from worker.picture_bytes import input_key
from worker.stored_script import Script, as_arguments, run_commands

JOB_TIMEOUT_S = 300
INPUT_TTL_S = 24 * 3600  # far longer than a job can wait, so an input outlives its job
RECORD_TTL_S = 4 * 3600  # how long an ended job can be looked up
MOST_OWN_JOBS = 1000  # remembered of each client
OWN_JOBS_TTL_S = 24 * 3600  # after a client's newest job
# Fields of a job's hash, beside RQ's own:
BATCH_KEY_FIELD = "batch_key"
CANCELABLE_FIELD = "cancelable"  # set while a job runs and is not about to end

_EMPTY = (
    *("success_callback_name", "failure_callback_name", "stopped_callback_name"),
    *("started_at", "ended_at", "last_heartbeat", "worker_name", "group_id"),
)
_UNCHANGING: tuple[str | int, ...] = (
    *(word for name in _EMPTY for word in (name, "")),
    *(
        "retries_left",
        MAX_TRIES - 1,
        "retry_intervals",
        "[0]",
        "enqueue_at_front_on_retry",
        1,
        "timeout",
        JOB_TIMEOUT_S,
    ),
    *("result_ttl", RECORD_TTL_S, "failure_ttl", RECORD_TTL_S, "status", "queued"),
)

_ONCE = Script(f"""
{RUN_OR_PLACE}
{ALLOW}
local status = redis.call('HGET', KEYS[1], 'status')
if status then
  if status ~= '{JobStatus.QUEUED.value}' and status ~= '{JobStatus.STARTED.value}' then redis.call('DEL', KEYS[2]) end
  return
end
if KEYS[3] and not allow(KEYS[3], tonumber(ARGV[2]), ARGV[1]) then return 'full' end
{run_commands(first=3, run="run_or_place")}
""")


def queued(queue_name: str, job_id: str, task: Task, data: bytes, meta: JobMeta) -> list[Command]:
    """The commands that queue a task, for :func:`once` or another script that knows ``PLACE``.

    Args:
        data: its pictures, packed.
    """
    key, queue_key, at = Job.key_for(job_id), Queue.redis_queue_namespace_prefix + queue_name, utcformat(now())
    call = f'["{contract.RUN_TASK}", null, [], {task.model_dump_json(exclude_none=True)}]'
    record: list[str | bytes | int] = ["HSET", key, *_UNCHANGING, "created_at", at, "enqueued_at", at]
    record += ["data", zlib.compress(call.encode()), "meta", meta.model_dump_json(exclude_none=True)]
    record += ["origin", queue_name, "description", task.batch_key, BATCH_KEY_FIELD, task.batch_key]
    record += [WORK_FIELD, task.work, BYTES_FIELD, len(data) + task.result_bytes]
    if meta.owner is not None:
        record += [OWNER_FIELD, meta.owner]
    commands: list[Command] = []
    if task.long:
        record += [LONG_FIELD, 1]
        commands.append(("HSET", contract.CLAIMS, job_id, task.result_bytes))
    return [
        *commands,
        tuple(record),
        ("SET", input_key(job_id), data, "EX", INPUT_TTL_S),
        ("SADD", Queue.redis_queues_keys, queue_key),
        (PLACE, queue_key, job_id, meta.owner or "", task.work),
    ]


def once(
    job_id: str, commands: Sequence[Command], allowance: Allowance | None = None, *, by_hash: bool
) -> list[Command]:
    """Commands, of which one queues the job, as those of a transaction that changes nothing when it is run once more.

    A client sends it again if the reply was lost. The job may have ended since.

    Args:
        allowance: that the job counts towards. If it would be too much, the last reply is ``b"full"``, and of all that
            the commands write there are only the pictures (:func:`dropped`).
        by_hash: whether Redis has the script already; else it keeps it from then on.
    """
    large = [command for command in commands if command[0] == "SET"]  # scripts copy what they get
    words = as_arguments(command for command in commands if command[0] != "SET")
    keys = [Job.key_for(job_id), input_key(job_id), *([allowance.key] if allowance else [])]
    return [*large, _ONCE.call(keys, [job_id, allowance.most if allowance else 0, *words], by_hash=by_hash)]


def dropped(commands: Sequence[Command]) -> Command:
    """The command that removes what these commands have written of a job that was too much."""
    return ("DEL", *(command[1] for command in commands if command[0] == "SET"))


def owned(client: str, job_id: str) -> list[Command]:
    """The commands that remember whose job this is, so that the client can list its jobs."""
    key = contract.JOBS_OF + client
    return [
        ("ZADD", key, time.time(), job_id),
        ("ZREMRANGEBYRANK", key, 0, -MOST_OWN_JOBS - 1),
        ("EXPIRE", key, OWN_JOBS_TTL_S),
    ]
