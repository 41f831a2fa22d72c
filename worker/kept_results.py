"""Results that are kept for clients who may come for them: given up, oldest first, when new work needs their memory."""

import time

from rq import Queue

from worker.picture_bytes import output_key
from worker.shared_connection import SharedConnection

FRESH_S = 10.0  # a result that is younger may be on its way to its client
MORE_BYTES = 32 << 20  # that are freed beyond what is needed, so that not every request has to
LOOKED_AT = 5_000  # ended jobs, of which most have no result any more, that are looked at in one go

# RQ's registry of jobs that succeeded has them by the time at which their records expire: in the order of their ends.
_GIVE_UP = f"""
local after, before, needed, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], after, before, 'WITHSCORES', 'LIMIT', 0, most)
local freed, reached = 0, after
for i = 1, #ended, 2 do
  local key = string.format('{output_key("%s")}', ended[i])
  local nbytes = redis.call('STRLEN', key)
  if nbytes > 0 then
    redis.call('DEL', key)
    freed = freed + nbytes
  end
  reached = ended[i + 1]
  if freed >= needed then return {{freed, tostring(reached), 0}} end
end
return {{freed, tostring(reached), #ended == 2 * most and 1 or 0}}
"""


# The same walk over the fresh ones, of which none is given up; the end of the last one that is needed, or nothing.
_FIND_ROOM = f"""
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[3]))
local needed = tonumber(ARGV[2])
for i = 1, #ended, 2 do
  needed = needed - redis.call('STRLEN', string.format('{output_key("%s")}', ended[i]))
  if needed <= 0 then return ended[i + 1] end
end
"""


class KeptResults:
    """The results of a queue's jobs.

    Args:
        record_ttl_s: how long an ended job can be looked up, at least as long as its result is kept.
    """

    def __init__(self, queue: Queue, shared: SharedConnection, *, record_ttl_s: int) -> None:
        self._key = queue.finished_job_registry.key
        self._shared = shared
        self._record_ttl_s = record_ttl_s
        self._reached = b"0"  # up to where in the registry there is nothing left to give up

    async def give_up(self, nbytes: int) -> int:
        """Delete the oldest results until this much is free, or only fresh ones are left; how much was freed."""
        freed = 0
        before = time.time() + self._record_ttl_s - FRESH_S
        needed = nbytes + MORE_BYTES
        while freed < needed:
            [(more, reached, goes_on)] = await self._shared.execute(
                ("EVAL", _GIVE_UP, 1, self._key, self._reached, repr(before), needed - freed, LOOKED_AT)
            )
            freed += more
            if not goes_on or reached == self._reached:
                break
            self._reached = reached
        return freed

    async def seconds_until(self, nbytes: int) -> float | None:
        """When this much could be given up; None if less than that is kept."""
        now = time.time() + self._record_ttl_s  # on the registry's scale
        [end] = await self._shared.execute(("EVAL", _FIND_ROOM, 1, self._key, repr(now - FRESH_S), nbytes, LOOKED_AT))
        return None if end is None else max(0.0, float(end) + FRESH_S - now)
