"""Lua scripts that Redis keeps and that are called by their hashes."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError

from worker.connection import Command


def run_commands(first: int, *, run: str = "redis.call") -> str:
    """Lua that runs the commands among a script's arguments, from this one (counted from 1) to the last.

    Args:
        run: the function that runs one.
    """
    return f"""
local i = {first}
while i <= #ARGV do
  local words = tonumber(ARGV[i])
  {run}(unpack(ARGV, i + 1, i + words))
  i = i + 1 + words
end
"""


def as_arguments(commands: Iterable[Command]) -> list[str | bytes | int | float]:
    """Commands as :func:`run_commands` expects them: each preceded by the number of its words."""
    return [word for command in commands for word in (len(command), *command)]


class Script:
    """A script, to be called on a connection that has Redis keep it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], arguments: Sequence[Any], *, by_hash: bool = True) -> Command:
        """The command that runs it.

        Args:
            by_hash: False for a Redis that may not have it yet, and keeps it from then on.
        """
        how = ("EVALSHA", self.hash) if by_hash else ("EVAL", self.text)
        return (*how, len(keys), *keys, *arguments)


class StoredScript:
    """A script that redis-py's client runs. Its own ``Script`` asks Redis before each call whether it is known."""

    def __init__(self, connection: redis.Redis, text: str) -> None:
        self._connection = connection
        self._script = Script(text)

    def run(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The script's reply."""
        try:
            return self._connection.execute_command(*self._script.call(keys, arguments))  # type: ignore[no-untyped-call]
        except NoScriptError:  # Redis never saw it, or was started since
            whole = self._script.call(keys, arguments, by_hash=False)
            return self._connection.execute_command(*whole)  # type: ignore[no-untyped-call]
