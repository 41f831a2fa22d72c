"""How much the holder of an API key may have in hand, counted in Redis by the records of the jobs themselves.

A sorted set has the ids of what is in hand, by the Unix time at which it was begun. What has ended since is taken out
when the set is full. So nobody has to report an end, and no death of a process can leave something in hand for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import redis
from rq.job import Job, JobStatus

from worker import contract
from worker.errors import LimitReached
from worker.stored_script import StoredScript

BEGUN_S = 60  # something may be in hand this long before there is a record of it

_ENDED = (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)

# Lua: whether the id is one of at most `most` in the set `key` from now on.
ALLOW = f"""
local ended = {{{", ".join(f"['{status.value}'] = true" for status in _ENDED)}}}
local function allow(key, most, id)
  if redis.call('ZSCORE', key, id) then return true end
  local now = tonumber(redis.call('TIME')[1])
  if redis.call('ZCARD', key) >= most then
    local begun = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #begun, 2 do
      local status = redis.call('HGET', '{Job.redis_job_namespace_prefix}' .. begun[i], 'status')
      if ended[status] or (not status and tonumber(begun[i + 1]) < now - {BEGUN_S}) then
        redis.call('ZREM', key, begun[i])
      end
    end
    if redis.call('ZCARD', key) >= most then return false end
  end
  redis.call('ZADD', key, now, id)
  return true
end
"""
_TAKE = f"""
{ALLOW}
for i = 2, #ARGV do
  if not allow(KEYS[1], tonumber(ARGV[1]), ARGV[i]) then
    for j = 2, i - 1 do redis.call('ZREM', KEYS[1], ARGV[j]) end
    return 0
  end
end
return 1
"""


@dataclass(frozen=True)
class Allowance:
    """What an API key may have in hand.

    Attributes:
        key: of the set in Redis.
        most: how many.
        what: in the plural.
    """

    key: str
    most: int
    what: str

    @classmethod
    def of_jobs(cls, name: str, most: int) -> "Allowance":
        """Of pictures, clips and uploads together."""
        return cls(f"{contract.IN_HAND}jobs:{name}", most, "jobs")

    @classmethod
    def of_runs(cls, name: str, most: int) -> "Allowance":
        """Of training runs that wait or run."""
        return cls(f"{contract.IN_HAND}runs:{name}", most, "training runs")

    def exceeded(self, retry_after_s: int = 1) -> LimitReached:
        """The error that one more would be too many."""
        return LimitReached(
            f"This API key may have {self.most} {self.what} in hand at a time. Wait for one to end.",
            retry_after_s=retry_after_s,
        )

    def take(self, connection: redis.Redis, ids: Sequence[str], retry_after_s: int = 1) -> None:
        """Count these jobs, all or none. There must be records of them within ``BEGUN_S``.

        Args:
            retry_after_s: when it is worth asking again.

        Raises:
            LimitReached: they would be too many.
        """
        if not StoredScript(connection, _TAKE).run([self.key], [self.most, *ids]):
            raise self.exceeded(retry_after_s)
