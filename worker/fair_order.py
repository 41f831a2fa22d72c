"""The order of the inference queue: the owners of jobs take turns, by how much work their jobs are.

This is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996). A job's turn is a number: what the queue's clock
shows when the job comes or, if that is later, the turn of its owner's last job plus the work of that. The list is kept
in the order of the turns, so RQ's way of taking the job at the head is also the fair one, and a job's place in the list
tells how many are before it. The clock shows the turn of the last job that was taken from the head. Who has queued 200
jobs thus has turns far ahead, and the next job of anybody else goes before all of them but one or two.

Short jobs also run between the steps of a long one, before long ones whose turn is earlier. They have a clock of their
own, which then goes on alone.

Jobs without owner share one turn. Everything is forgotten when the queue is empty.
"""

from rq.job import Job

from worker import contract
from worker.stored_script import Script

OWNER_FIELD = "owner"  # of a job's record; absent: none
WORK_FIELD = "work"
BYTES_FIELD = "bytes"  # of its pictures and its result
TURN_FIELD = "turn"  # only while it is queued; absent: 0
_FREED_FIELD = "freed_turn"  # of jobs of the owner that were canceled, from which on none is between them and this one
LONG_FIELD = "long"  # set only for long jobs
PLACE = "PLACE"  # in place of a Redis command: PLACE queue job owner work

_JOB = Job.redis_job_namespace_prefix
# Fields of the hash ``contract.TURNS``:
NOW = "now"  # the clock
SHORT_NOW = "short"  # that of short jobs, where it is ahead
_LAST = "last"  # the largest turn that was given
_END = "end:"  # and an owner: the turn that its next job gets, if the clock does not show more

# The queue may hold ids of other software, whose records have no turn or are no records.
_PLACING = f"""
local function turn_of(id)
  local turn = redis.pcall('HGET', '{_JOB}' .. id, '{TURN_FIELD}')
  return type(turn) == 'string' and tonumber(turn) or 0
end

local function place(queue, id, owner, work)
  if redis.call('LLEN', queue) == 0 then redis.call('DEL', '{contract.TURNS}') end
  local known = redis.call('HMGET', '{contract.TURNS}', '{NOW}', '{_END}' .. owner, '{_LAST}', '{SHORT_NOW}')
  local turn, last = math.max(tonumber(known[1]) or 0, tonumber(known[2]) or 0), tonumber(known[3]) or 0
  local short_now = tonumber(known[4]) or 0
  if short_now > turn and redis.call('HEXISTS', '{_JOB}' .. id, '{LONG_FIELD}') == 0 then turn = short_now end
  redis.call('HSET', '{contract.TURNS}', '{_END}' .. owner, string.format('%.0f', turn + work),
    '{_LAST}', string.format('%.0f', math.max(turn, last)))
  if turn > 0 then redis.call('HSET', '{_JOB}' .. id, '{TURN_FIELD}', string.format('%.0f', turn)) end
  if turn >= last then return redis.call('RPUSH', queue, id) end
  local low, high = 0, redis.call('LLEN', queue)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if turn_of(redis.call('LINDEX', queue, middle)) > turn then high = middle else low = middle + 1 end
  end
  local later = redis.call('LINDEX', queue, low)
  if later then return redis.call('LINSERT', queue, 'BEFORE', later, id) end
  redis.call('RPUSH', queue, id)
end
"""

# For scripts that run commands, of which one may be PLACE: Lua that defines the function ``run_or_place``.
RUN_OR_PLACE = f"""
{_PLACING}
local function run_or_place(name, ...)
  if name == '{PLACE}' then return place(...) end
  return redis.call(name, ...)
end
"""

# Takes a job that was canceled out of the queue. What its owner queues next gets the turn that it would have without
# it: that of the job itself if it was the owner's last one. Otherwise the next one of the owner notes that turn, which
# counts once that is canceled too.
WITHDRAW = f"""
local queue = KEYS[1]
local id, owner = unpack(ARGV)
local place = redis.call('LPOS', queue, id)
if not place then return end
local known = redis.call('HMGET', '{_JOB}' .. id, '{_FREED_FIELD}', '{TURN_FIELD}')
local turn = known[1] or known[2] or '0'
redis.call('LREM', queue, 1, id)
for _, later in ipairs(redis.call('LRANGE', queue, place, -1)) do
  local job = redis.pcall('HMGET', '{_JOB}' .. later, '{OWNER_FIELD}', 'status')
  if not job.err and job[2] and (job[1] or '') == owner then
    return redis.call('HSET', '{_JOB}' .. later, '{_FREED_FIELD}', turn)
  end
end
redis.call('HSET', '{contract.TURNS}', '{_END}' .. owner, turn)
"""

# What the next job of an owner would find: how many jobs wait, and their bytes; of those the owner's, with their bytes
# and their work; and the work before it. Short jobs overtake long ones, which don't count if it is a short one.
FORESEE = Script(f"""
local owner, long = unpack(ARGV)
local known = redis.call('HMGET', '{contract.TURNS}', '{NOW}', '{_END}' .. owner, '{SHORT_NOW}')
local mine = math.max(tonumber(known[1]) or 0, tonumber(known[2]) or 0, long == '1' and 0 or tonumber(known[3]) or 0)
local waiting = redis.call('LRANGE', KEYS[1], 0, -1)
local bytes, own, own_bytes, own_work, before = 0, 0, 0, 0, 0
for _, id in ipairs(waiting) do
  local job = redis.pcall('HMGET', '{_JOB}' .. id, '{OWNER_FIELD}', '{TURN_FIELD}', '{WORK_FIELD}', '{BYTES_FIELD}',
    '{LONG_FIELD}')
  if not job.err then
    local work = (long == '1' or not job[5]) and (tonumber(job[3]) or 1) or 0
    local nbytes = tonumber(job[4]) or 0
    bytes = bytes + nbytes
    if (job[1] or '') == owner then own, own_bytes, own_work = own + 1, own_bytes + nbytes, own_work + work end
    if (tonumber(job[2]) or 0) <= mine then before = before + work end
  end
end
return {{#waiting, bytes, own, own_bytes, own_work, before}}
""")
