"""What is kept of ended jobs for clients who may come for it: given up, oldest first, when new work needs the memory.

Results go before records, which are small. Yet a queue that is never idle makes more records than memory holds. The
records of jobs that failed or were canceled are left until they expire: there are few, and no pictures with them.
"""

import time

from rq import Queue
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job

from models.provenance.origin import SIGNED_TYPES
from worker.picture_bytes import history_key, output_key, splices_key
from worker.shared_connection import SharedConnection

FRESH_S = 10.0  # a result that is younger may be on its way to its client
MORE_BYTES = 32 << 20  # freed in excess, so that the next requests need not
RECORD_FRESH_S = 60.0  # a record that is younger may be asked for by its client
MORE_RECORD_BYTES = 4 << 20
RECORDS_AT_ONCE = 1_000  # Redis does nothing else meanwhile
RECORDS_WEIGHED = 100  # by which all are estimated
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

# About how many bytes all that is kept of the jobs that ended takes.
_WEIGH = """
local after, before, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], after, before, 'LIMIT', 0, most)
local nbytes = 0
for _, id in ipairs(ended) do
  for n = 4, #ARGV do
    nbytes = nbytes + (redis.call('MEMORY', 'USAGE', string.format(ARGV[n], id), 'SAMPLES', 0) or 0)
  end
end
return math.floor(nbytes * redis.call('ZCOUNT', KEYS[1], after, before) / math.max(1, #ended))
"""

# Deletes all that is kept of the jobs that ended first; how many bytes that was, and how many jobs.
_DROP = """
local before, needed, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local freed, dropped = 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, most)) do
  for n = 4, #ARGV do
    local key = string.format(ARGV[n], id)
    freed = freed + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0)
    redis.call('DEL', key)
  end
  redis.call('ZREM', KEYS[1], id)
  dropped = dropped + 1
  if freed >= needed then break end
end
return {freed, dropped}
"""
_OF_A_JOB = (
    Job.key_for("%s"),
    f"{RQ_KEY_PREFIX}:results:%s",
    output_key("%s"),
    history_key("%s"),
    *(splices_key("%s", media_type) for media_type in sorted(SIGNED_TYPES)),
)

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
        """Delete the oldest results, and then the oldest records, until this much is free, or only fresh ones are left.

        Records are deleted only if they suffice.

        Returns:
            How much was freed, in bytes.
        """
        freed = await self._give_up_results(nbytes)
        return freed if freed >= nbytes else freed + await self._drop_records(nbytes - freed)

    async def _drop_records(self, nbytes: int) -> int:
        freed, needed = 0, nbytes + MORE_RECORD_BYTES
        now = time.time()
        before = repr(now + self._record_ttl_s - RECORD_FRESH_S)
        numbers: tuple[str | int, ...] = repr(now), before, RECORDS_WEIGHED
        [there] = await self._shared.execute(("EVAL", _WEIGH, 1, self._key, *numbers, *_OF_A_JOB))
        if there < nbytes:  # what waits takes the memory, and records would be deleted for nothing
            return 0
        while freed < needed:
            numbers = before, needed - freed, RECORDS_AT_ONCE
            [(more, dropped)] = await self._shared.execute(("EVAL", _DROP, 1, self._key, *numbers, *_OF_A_JOB))
            if not dropped:
                break
            freed += more  # nothing of those that have expired
        return freed

    async def _give_up_results(self, nbytes: int) -> int:
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
