"""Lua scripts that Redis keeps and that are called by their hashes."""

import hashlib
from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError

from worker.connection import Command


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
