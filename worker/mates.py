"""Taking compatible jobs from the queue together: one Lua script, so that no job is ever between two lists."""

import redis
from rq import Queue
from rq.job import Job

from worker.contract import MAX_TRIES
from worker.inference_queue import BATCH_KEY_FIELD, LONG_FIELD, fetch_jobs

WINDOW = 256  # queued jobs looked at for mates

# A job that was tried before is left where it is: its worker died, so it runs alone (quarantine).
_TAKE = f"""
local taken = {{}}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)) do
  if #taken >= tonumber(ARGV[2]) then break end
  local job = redis.call('HMGET', ARGV[4] .. id, '{BATCH_KEY_FIELD}', 'retries_left')
  if job[1] == ARGV[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LREM', KEYS[1], 1, id)
    redis.call('LPUSH', KEYS[2], id)
    taken[#taken + 1] = id
  end
end
return taken
"""


# The first job in the queue that is not a long one, whichever model it is for.
_TAKE_SHORT = f"""
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local job = redis.call('HMGET', ARGV[1] .. id, '{LONG_FIELD}', 'retries_left')
  if not job[1] and job[2] == '{MAX_TRIES - 1}' then
    redis.call('LREM', KEYS[1], 1, id)
    redis.call('LPUSH', KEYS[2], id)
    return id
  end
end
"""


class Mates:
    """Finds the jobs that can run in one batch with a job that was just dequeued."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._take = queue.connection.register_script(_TAKE)
        self._take_short = queue.connection.register_script(_TAKE_SHORT)
        self._keys = [queue.key, queue.intermediate_queue_key]

    def take(self, batch_key: str, at_most: int) -> list[Job]:
        """Move up to ``at_most`` queued jobs of ``batch_key`` to RQ's intermediate list, oldest first."""
        connection: redis.Redis = self._queue.connection
        ids = self._take(keys=self._keys, args=[batch_key, at_most, WINDOW, Job.redis_job_namespace_prefix])
        jobs = fetch_jobs(connection, [id.decode() for id in ids])
        return [job for job in jobs if job is not None]

    def take_short(self) -> Job | None:
        """Move the oldest queued job that is not a long one to RQ's intermediate list; None if there is none."""
        connection: redis.Redis = self._queue.connection
        job_id = self._take_short(keys=self._keys, args=[Job.redis_job_namespace_prefix])
        if job_id is None:
            return None
        return fetch_jobs(connection, [job_id.decode()])[0]
