"""Take jobs with all that is needed to run them, and pick queued ones out of turn: for a batch, or beside a long job.

A Lua script moves those from the queue to RQ's intermediate list in one step, so that no job is ever in neither. A full
Redis refuses to write to a list, but not to remove from one, so writing comes first.
"""

from dataclasses import dataclass
from typing import cast

import redis
from rq import Queue
from rq.job import Job

from worker.contract import MAX_TRIES
from worker.inference_queue import BATCH_KEY_FIELD, LONG_FIELD, restored
from worker.picture_bytes import input_key

OWN_FIELDS = (BATCH_KEY_FIELD, LONG_FIELD)
WINDOW = 256  # queued jobs that are searched for ones that fit a batch

# A job that was tried before stays in the queue, and takes none with it: its worker died, so it must run alone.
_TAKE = f"""
local first, key, at_most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local taken = {{}}
local function take(id)
  taken[#taken + 1] = {{id, redis.call('HGETALL', ARGV[4] .. id), redis.call('GET', string.format(ARGV[5], id))}}
end
if first ~= '' then
  take(first)
  local job = redis.call('HMGET', ARGV[4] .. first, '{BATCH_KEY_FIELD}', 'retries_left', '{LONG_FIELD}')
  if not job[1] or job[2] ~= '{MAX_TRIES - 1}' or job[3] then return taken end
  key = job[1]
end
if #taken == at_most then return taken end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, {WINDOW - 1})) do
  local job = redis.call('HMGET', ARGV[4] .. id, '{BATCH_KEY_FIELD}', 'retries_left')
  if job[1] == key and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LPUSH', KEYS[2], id)
    redis.call('LREM', KEYS[1], 1, id)
    take(id)
    if #taken == at_most then break end
  end
end
return taken
"""

_PICK_SHORT = f"""
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local job = redis.call('HMGET', ARGV[1] .. id, '{LONG_FIELD}', 'retries_left')
  if not job[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LPUSH', KEYS[2], id)
    redis.call('LREM', KEYS[1], 1, id)
    return id
  end
end
"""


@dataclass(frozen=True)
class TakenJob:
    """A job in RQ's intermediate list, read from Redis."""

    job: Job
    packed: bytes | None  # its pictures, packed; None if they expired
    fields: dict[str, str]  # that Doppel adds to RQ's

    @property
    def batch_key(self) -> str | None:
        """That of the jobs that may run with it; None for one that must run alone."""
        alone = LONG_FIELD in self.fields or self.job.retries_left != MAX_TRIES - 1
        return None if alone else self.fields.get(BATCH_KEY_FIELD)


class JobPicker:
    """Takes jobs from the queue, oldest first, by way of RQ's intermediate list."""

    def __init__(self, queue: Queue) -> None:
        self._connection: redis.Redis = queue.connection
        self._take = self._connection.register_script(_TAKE)
        self._pick_short = self._connection.register_script(_PICK_SHORT)
        self._keys = [queue.key, queue.intermediate_queue_key]

    def take(self, job_id: str, at_most: int) -> list[TakenJob]:
        """Read a job that is in the intermediate list, and take those that fit its batch, ``at_most`` in all."""
        return self._taken(job_id, "", at_most)

    def take_compatible(self, batch_key: str, at_most: int) -> list[TakenJob]:
        """Take up to ``at_most`` jobs of this batch key."""
        return self._taken("", batch_key, at_most)

    def _taken(self, job_id: str, batch_key: str, at_most: int) -> list[TakenJob]:
        arguments: list[str | int] = [job_id, batch_key, at_most, Job.redis_job_namespace_prefix, input_key("%s")]
        taken = []
        for taken_id, record, packed in self._take(keys=self._keys, args=arguments):
            if not record:  # it expired
                self._connection.lrem(self._keys[1], 1, taken_id)
                continue
            fields = dict(zip(record[::2], record[1::2], strict=True))
            own = {name: fields[name.encode()].decode() for name in OWN_FIELDS if name.encode() in fields}
            taken.append(TakenJob(restored(self._connection, taken_id.decode(), fields), packed, own))
        return taken

    def pick_next(self) -> str | None:
        """Move the oldest job to the intermediate list, as RQ does, but wait for none; None if there is none."""
        job_id = self._connection.lmove(*self._keys)
        return None if job_id is None else cast(bytes, job_id).decode()

    def pick_short(self) -> str | None:
        """Move one job that is not a long one, for whichever model, to the intermediate list; None if there is none."""
        job_id = self._pick_short(keys=self._keys, args=[Job.redis_job_namespace_prefix])
        return None if job_id is None else job_id.decode()
