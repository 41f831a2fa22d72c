"""Pick queued jobs out of turn: those that fit a batch, or a short one while a long one runs.

A Lua script moves them from the queue to RQ's intermediate list in one step, so that no job is ever in neither.
"""

import redis
from rq import Queue
from rq.job import Job

from worker.contract import MAX_TRIES
from worker.inference_queue import BATCH_KEY_FIELD, LONG_FIELD, fetch_jobs

WINDOW = 256  # queued jobs that are searched for ones that fit a batch

# A job that was tried before stays in the queue: its worker died, so it must run alone.
_PICK_COMPATIBLE = f"""
local picked = {{}}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)) do
  if #picked >= tonumber(ARGV[2]) then break end
  local job = redis.call('HMGET', ARGV[4] .. id, '{BATCH_KEY_FIELD}', 'retries_left')
  if job[1] == ARGV[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LREM', KEYS[1], 1, id)
    redis.call('LPUSH', KEYS[2], id)
    picked[#picked + 1] = id
  end
end
return picked
"""

_PICK_SHORT = f"""
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local job = redis.call('HMGET', ARGV[1] .. id, '{LONG_FIELD}', 'retries_left')
  if not job[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LREM', KEYS[1], 1, id)
    redis.call('LPUSH', KEYS[2], id)
    return id
  end
end
"""


class JobPicker:
    """Picks jobs from the queue, oldest first, and moves them to RQ's intermediate list."""

    def __init__(self, queue: Queue) -> None:
        self._connection: redis.Redis = queue.connection
        self._pick_compatible = self._connection.register_script(_PICK_COMPATIBLE)
        self._pick_short = self._connection.register_script(_PICK_SHORT)
        self._keys = [queue.key, queue.intermediate_queue_key]

    def pick_compatible(self, batch_key: str, at_most: int) -> list[Job]:
        """Pick up to ``at_most`` jobs of this batch key."""
        arguments: list[str | int] = [batch_key, at_most, WINDOW, Job.redis_job_namespace_prefix]
        job_ids = self._pick_compatible(keys=self._keys, args=arguments)
        jobs = fetch_jobs(self._connection, [job_id.decode() for job_id in job_ids])
        return [job for job in jobs if job is not None]

    def pick_short(self) -> Job | None:
        """Pick one job that is not a long one, for whichever model; None if there is none."""
        job_id = self._pick_short(keys=self._keys, args=[Job.redis_job_namespace_prefix])
        if job_id is None:
            return None
        return fetch_jobs(self._connection, [job_id.decode()])[0]
