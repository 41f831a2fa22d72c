"""A Lua script that Redis keeps and that is called by its hash."""

import hashlib
from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError

Command = tuple[str | bytes | int | float, ...]


class StoredScript:
    """redis-py's own ``Script`` asks Redis before each transaction whether it still knows the script."""

    def __init__(self, connection: redis.Redis, text: str) -> None:
        self._connection = connection
        self._text = text
        self._hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, keys: Sequence[str], arguments: Sequence[Any], *, after: Sequence[Command] = ()) -> Any:
        """The script's reply.

        Args:
            after: commands that run before it, in the same transaction.
        """
        try:
            return self._run(keys, arguments, after)
        except NoScriptError:  # Redis was started since, or never saw it
            self._connection.script_load(self._text)
            return self._run(keys, arguments, after)

    def _run(self, keys: Sequence[str], arguments: Sequence[Any], after: Sequence[Command]) -> Any:
        call = ("EVALSHA", self._hash, len(keys), *keys, *arguments)
        if not after:
            return self._connection.execute_command(*call)  # type: ignore[no-untyped-call]
        with self._connection.pipeline() as pipe:
            for command in (*after, call):
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipe.execute()[-1]
