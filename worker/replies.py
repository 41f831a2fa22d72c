"""What Redis answers to commands that are sent without redis-py's client."""

from collections.abc import Iterable
from typing import Any

from redis.exceptions import BusyLoadingError, NoScriptError, OutOfMemoryError, RedisError, ResponseError

Reply = Any  # bytes, int, None, a list of replies, or the error that Redis answers

_ERRORS = {"OOM": OutOfMemoryError, "LOADING": BusyLoadingError, "NOSCRIPT": NoScriptError}


def read_error(message: str) -> RedisError:
    """The error that redis-py raises for this reply."""
    code, _, text = message.partition(" ")
    kind = _ERRORS.get(code)
    return kind(text) if kind is not None else ResponseError(message)


def failure(replies: Iterable[Reply]) -> RedisError | None:
    """The first error among replies, those of a transaction included."""
    for reply in replies:
        if isinstance(reply, RedisError):
            return reply
        if isinstance(reply, list) and (error := failure(one for one in reply if isinstance(one, RedisError))):
            return error
    return None
