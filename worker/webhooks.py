"""Whom to tell that a job or a run has ended: hooks, which wait in Redis until they are delivered or given up.

Nothing that ends a job knows of them: whoever delivers looks each hook's job up from time to time. So it does not
matter how a job ends, nor who dies in between. A hook that is taken comes back after a while unless it is removed, so
it is delivered at least once.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Literal, cast

import redis
from pydantic import BaseModel, ValidationError

from worker import contract
from worker.connection import Command
from worker.stored_script import StoredScript

MOST_WAITING = 20_000  # hooks; then runs and fetches with a further one are refused, and what fails is given up

_TAKE = """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
local taken = {}
for i, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], ARGV[2], id)
  taken[2 * i - 1], taken[2 * i] = id, redis.call('HGET', KEYS[2], id)
end
return taken
"""
# One that was removed meanwhile stays so.
_RETURN = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if ARGV[3] then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
"""
_KEYS = (contract.HOOKS_DUE, contract.HOOKS)


class Hook(BaseModel):
    """An address that is to be told when a job or a run has ended."""

    subject: Literal["job", "run"]
    id: str  # of the job or the run
    turn: int = 1  # of a run, which is resumed under the same id
    url: str
    owner: str | None = None  # the name of the API key that ordered it
    attempts: int = 0  # to deliver it, all of which failed

    @property
    def message_id(self) -> str:
        """The same for each attempt to deliver it, and for the same order that is given twice."""
        order = json.dumps([self.subject, self.id, self.turn, self.url, self.owner])
        return f"msg_{hashlib.sha256(order.encode()).hexdigest()[:32]}"

    def ordered(self) -> list[Command]:
        """The commands that make it wait, which belong in the transaction that queues the job."""
        return [
            ("HSET", contract.HOOKS, self.message_id, self.model_dump_json(exclude_defaults=True)),
            ("ZADD", contract.HOOKS_DUE, time.time(), self.message_id),
        ]


HookOf = Callable[[str], Hook | None]  # of the id of the job


def no_hook(job_id: str) -> None:
    """No hook: nobody asked to be told how the job ends."""


class Hooks:
    """The hooks that wait. Every method raises redis-py's errors."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self._take = StoredScript(connection, _TAKE)
        self._return = StoredScript(connection, _RETURN)

    def order(self, hook: Hook) -> None:
        """Make a hook wait whose job or run exists already."""
        with self._connection.pipeline() as pipe:
            for command in hook.ordered():
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            pipe.execute()

    def take(self, *, at_most: int, lease_s: float) -> list[Hook]:
        """The hooks that are due. Nobody else gets them within ``lease_s``; then they are due again."""
        now = time.time()
        found = cast(list[bytes | None], self._take.run(_KEYS, (now, now + lease_s, at_most)))
        hooks = []
        for message_id, data in zip(found[::2], found[1::2], strict=True):
            try:
                hook = Hook.model_validate_json(data or b"")
            except ValidationError:  # somebody else's
                hook = None
            if hook is None or hook.message_id.encode() != message_id:
                self._remove(cast(bytes, message_id))
            else:
                hooks.append(hook)
        return hooks

    def put_off(self, hook: Hook, seconds: float) -> None:
        """Look at a hook again after this time."""
        self._return.run(_KEYS, (hook.message_id, time.time() + seconds))

    def try_again(self, hook: Hook, seconds: float) -> None:
        """Count an attempt that failed, and make the next one after this time."""
        again = hook.model_copy(update={"attempts": hook.attempts + 1})
        written = again.model_dump_json(exclude_defaults=True)
        self._return.run(_KEYS, (hook.message_id, time.time() + seconds, written))

    def remove(self, hook: Hook) -> None:
        """Forget a hook: it is delivered, or given up."""
        self._remove(hook.message_id)

    def _remove(self, message_id: str | bytes) -> None:
        with self._connection.pipeline() as pipe:
            pipe.zrem(contract.HOOKS_DUE, message_id)
            pipe.hdel(contract.HOOKS, message_id)
            pipe.execute()

    def waiting(self) -> int:
        """How many wait for the end of their job, or for the next attempt."""
        return self._connection.zcard(contract.HOOKS_DUE)
