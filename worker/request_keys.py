"""Requests that their client may send again under the same key, and what was made of each the first time.

Of each key Redis holds a hash: the ``fingerprint`` of the request, the ``id`` of the job or run that it makes, the
``token`` of the request that is being answered, ``done`` once it was made, and the ``answer`` if that is short JSON. A
lease says that somebody is still at work on it, so that a request whose API process died can be taken up by its repeat,
under the same id.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import cast
from uuid import uuid4

from models.errors import Unavailable
from worker import contract
from worker.allowances import ALLOW, Allowance
from worker.connection import Command
from worker.errors import QueueError
from worker.fair_order import RUN_OR_PLACE
from worker.inference_queue import new_job_id, translating_errors
from worker.job_records import RECORD_TTL_S
from worker.shared_connection import SharedConnection
from worker.stored_script import as_arguments, run_commands

KEY_TTL_S = RECORD_TTL_S  # counted from the first request, so a job can be looked up for longer than its key is known

# Redis may lose the reply to a command that it has run, and is asked again: each script gives the same reply then.
_BEGIN = """
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'id', 'token', 'done', 'answer')
local fingerprint, token, id, lease_s, ttl_s = unpack(ARGV)
if not known[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', fingerprint, 'id', id, 'token', token)
  redis.call('EXPIRE', KEYS[1], ttl_s)
  redis.call('SET', KEYS[2], token, 'EX', lease_s)
  return {'new', id}
end
if known[1] ~= fingerprint then return {'other', ''} end
if known[4] then return {'done', known[2], known[5]} end
if known[3] == token then return {'new', known[2]} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'busy', known[2]} end
redis.call('HSET', KEYS[1], 'token', token)
redis.call('SET', KEYS[2], token, 'EX', lease_s)
return {'abandoned', known[2]}
"""
# Runs commands, unless that was done or is another request's turn by now.
_WRITE = f"""
{RUN_OR_PLACE}
{ALLOW}
local known = redis.call('HMGET', KEYS[1], 'token', 'done')
if known[1] ~= ARGV[1] then return 0 end
if known[2] then return 1 end
if KEYS[3] and not allow(KEYS[3], tonumber(ARGV[3]), ARGV[2]) then return -1 end
{run_commands(first=4, run="run_or_place")}
redis.call('HSET', KEYS[1], 'done', 1)
return 1
"""
_MADE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'done', 1)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'answer', ARGV[2]) end
return redis.call('DEL', KEYS[2])
"""
_RELEASE = """
local known = redis.call('HMGET', KEYS[1], 'token', 'done')
if known[1] ~= ARGV[1] or known[2] then return 0 end
return redis.call('DEL', KEYS[1], KEYS[2])
"""


class Turn(StrEnum):
    """What a request finds under its key."""

    NEW = "new"  # nothing: it is the first
    BUSY = "busy"  # another request that is being answered
    ABANDONED = "abandoned"  # one that is no longer being answered; whether it made its job is not known
    DONE = "done"  # one that made what it asked for
    OTHER = "other"  # one that asked for something else


class KeyedRequest:
    """A request that came with a key. Every method raises :class:`QueueUnreachable` when Redis cannot be reached.

    Attributes:
        id: of the job or run that the request makes, or that was made for an earlier one.
        answer: what was answered to the earlier one; None if that is not stored.
    """

    def __init__(self, shared: SharedConnection) -> None:
        self._shared = shared
        self._token = uuid4().hex
        self._keys = ("", "")
        self._renewal: asyncio.Task[None] | None = None
        self.id = new_job_id()
        self.answer: bytes | None = None

    @property
    def begun(self) -> bool:
        """Whether it is this request's turn to make what it asks for, and it is being answered."""
        return self._renewal is not None

    async def begin(self, key: str, fingerprint: str) -> Turn:
        """Look what there is under the key. If the turn is ``NEW`` or ``ABANDONED``, it is this request's.

        Args:
            key: as the client chose it, told from other clients' keys.
            fingerprint: of what is asked for; the same for each repeat.
        """
        name = contract.REQUESTS + hashlib.sha256(key.encode()).hexdigest()
        self._keys = (name, f"{name}:lease")
        reply = await self._run(_BEGIN, fingerprint, self._token, self.id, contract.LEASE_S, KEY_TTL_S)
        turn = Turn(reply[0].decode())
        if turn is not Turn.OTHER:
            self.id = reply[1].decode()
        self.answer = reply[2] if turn is Turn.DONE and len(reply) > 2 else None
        if turn in (Turn.NEW, Turn.ABANDONED) and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        return turn

    async def write(self, commands: Sequence[Command], allowance: Allowance | None = None) -> None:
        """Run the commands that make what is asked for, all or none, and once however often this request is repeated.

        Args:
            allowance: that it counts towards; None: none.

        Raises:
            LimitReached: it would be more than the allowance.
            Unavailable: this request was taken for dead, and a repeat has its turn.
        """
        arguments = (self._token, self.id, allowance.most if allowance else 0, *as_arguments(commands))
        done = cast(int, await self._run(_WRITE, *arguments, keys=[allowance.key] if allowance else []))
        if done == -1 and allowance is not None:
            raise allowance.exceeded()
        if not done:
            raise Unavailable("A repeat of this request has taken it over. Send it again.", retry_after_s=1)

    async def made(self, answer: bytes = b"") -> None:
        """Remember that what was asked for is made; the next request with this key is answered by it.

        Args:
            answer: what was answered, if the next one shall get the same; empty to keep what is stored.
        """
        await self._run(_MADE, self._token, answer)

    async def release(self) -> None:
        """Forget the request, unless what it asked for was made."""
        self.close()
        await self._run(_RELEASE, self._token)

    def close(self) -> None:
        """End the lease: the request has been answered."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    async def _run(self, script: str, *arguments: str | bytes | int | float, keys: Sequence[str] = ()) -> list[bytes]:
        keys = (*self._keys, *keys)
        with translating_errors():
            [reply] = await self._shared.execute(("EVAL", script, len(keys), *keys, *arguments))
        return cast(list[bytes], reply)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(contract.HEARTBEAT_S)
            with contextlib.suppress(QueueError), translating_errors():
                await self._shared.execute(("SET", self._keys[1], self._token, "XX", "EX", contract.LEASE_S))
