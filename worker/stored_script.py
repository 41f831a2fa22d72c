"""A Lua script that Redis keeps and that is called by its hash."""

import hashlib
from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError

from worker.connection import Command


class StoredScript:
    """redis-py's own ``Script`` asks Redis before each transaction whether it still knows the script."""

    def __init__(self, connection: redis.Redis, text: str) -> None:
        self._connection = connection
        self._text = text
        self._hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, keys: Sequence[str], arguments: Sequence[Any], *, first: Sequence[Command] = ()) -> Any:
        """The script's reply.

        Args:
            first: commands that run before it, in the same transaction.
        """
        try:
            return self._run("EVALSHA", self._hash, keys, arguments, first)
        except NoScriptError:  # Redis never saw it, or was started since. EVAL has it keep the script.
            return self._run("EVAL", self._text, keys, arguments, first)

    def _run(
        self, command: str, script: str, keys: Sequence[str], arguments: Sequence[Any], first: Sequence[Command]
    ) -> Any:
        call = (command, script, len(keys), *keys, *arguments)
        if not first:
            return self._connection.execute_command(*call)  # type: ignore[no-untyped-call]
        with self._connection.pipeline() as pipe:
            for one in (*first, call):
                pipe.execute_command(*one)  # type: ignore[no-untyped-call]
            return pipe.execute()[-1]
