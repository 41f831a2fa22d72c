"""One blocking connection to Redis for what a worker asks for every batch.

Several commands travel in one write, and Redis flushes what they change to disk in one go. redis-py's client takes
several times as long for a command.
"""

import socket
import time
from typing import Any, cast

import hiredis
import redis
from redis.exceptions import AuthenticationError, AuthorizationError, ConnectionError, NoScriptError, RedisError

from worker.connection import LOST, RETRY_PAUSE_S, Command
from worker.replies import Reply, failure, read_error

_READ_BYTES = 256 << 10


class DirectConnection:
    """It connects when it is first used, and again when the connection is lost.

    Args:
        client: whose address and credentials are used.
        scripts: Lua scripts that Redis is to know; EVALSHA then calls them by their hashes.
        patience_s: how long each call tries again before it gives up on a lost Redis.
    """

    def __init__(self, client: redis.Redis, *scripts: str, patience_s: float) -> None:
        self._pool = client.connection_pool
        self._scripts = scripts
        self._patience_s = patience_s
        self._connection: redis.Connection | None = None
        self._replies = hiredis.Reader(replyError=read_error)

    def execute(self, *commands: Command) -> list[Reply]:
        """The replies to these commands, which are sent again if they are lost, so that Redis may run them twice.

        Raises:
            RedisError: Redis refuses one of them, or (ConnectionError, TimeoutError) cannot be reached.
        """
        give_up_at = time.monotonic() + self._patience_s
        while True:
            try:
                replies = self._ask(commands)
                if (error := failure(replies)) is not None:
                    raise error
                return replies
            except NoScriptError:  # somebody had Redis forget its scripts
                self.close()
                if time.monotonic() >= give_up_at:
                    raise
            except LOST as error:
                hopeless = isinstance(error, AuthenticationError | AuthorizationError)
                if hopeless or time.monotonic() >= give_up_at:
                    raise
                time.sleep(RETRY_PAUSE_S)

    def close(self) -> None:
        """Close the connection. What Redis has not run by then, it does not run."""
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection = None

    def _ask(self, commands: tuple[Command, ...]) -> list[Reply]:
        try:
            wire = self._connected()
            return self._exchange(wire, commands)
        except BaseException as error:  # a signal's among them: replies to come would be taken for others
            self.close()
            if isinstance(error, RedisError) or not isinstance(error, OSError):
                raise
            lost = redis.TimeoutError if isinstance(error, TimeoutError) else ConnectionError
            raise lost(f"the connection to Redis was lost ({error})") from error

    def _exchange(self, wire: socket.socket, commands: tuple[Command, ...]) -> list[Reply]:
        wire.sendall(b"".join(hiredis.pack_command(cast(Any, tuple(command))) for command in commands))
        replies: list[Reply] = []
        while True:
            while len(replies) < len(commands) and (reply := self._replies.gets()) is not False:
                replies.append(reply)
            if len(replies) == len(commands):
                return replies
            data = wire.recv(_READ_BYTES)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self._replies.feed(data)

    def _connected(self) -> socket.socket:
        if self._connection is None:
            options = {**self._pool.connection_kwargs, "protocol": 2}
            self._connection = cast(redis.Connection, self._pool.connection_class(**options))
            # By redis-py, which knows TLS, passwords and databases.
            self._connection.connect()  # type: ignore[no-untyped-call]
            self._replies = hiredis.Reader(replyError=read_error)
            if self._scripts:
                loads = tuple(("SCRIPT", "LOAD", script) for script in self._scripts)
                if (error := failure(self._exchange(self._socket(), loads))) is not None:
                    raise error
        return self._socket()

    def _socket(self) -> socket.socket:
        assert self._connection is not None, "not connected"
        return cast(socket.socket, self._connection._sock)
