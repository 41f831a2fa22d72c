"""Connections to Redis that ride out its restart, and the check of a Redis at the start of a role."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlsplit

import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from worker.errors import QueueUnreachable, RedisUnusable

T = TypeVar("T")
Command = tuple[str | bytes | int | float, ...]  # to Redis: its name and its arguments

log = logging.getLogger("doppel.worker")

RETRY_PAUSE_S = 0.1
SILENCE_S = 5  # after which a Redis that says nothing is taken for lost
BLOCKED_S = 2  # that a worker waits for a job in one command: well below that, or its waiting would look like a loss
LOST = (ConnectionError, TimeoutError)
OLDEST = (6, 2)  # the version of Redis that RQ's way of taking jobs needs
LEAST_MEMORY_MB = 64  # room for a few large pictures and their results


def connect(url: str, *, patience_s: float) -> redis.Redis:
    """A client that tries each command again for ``patience_s`` before it gives up on a lost Redis."""
    return redis.Redis.from_url(
        url, retry=_Patience(patience_s), socket_timeout=SILENCE_S, socket_connect_timeout=SILENCE_S
    )


def with_password(url: str, file: Path | None) -> str:
    """The address of a Redis with the password that is in a file, unless it has one already.

    Raises:
        ValueError: the file can't be read, or is empty.
    """
    parts = urlsplit(url)
    if file is None or parts.password is not None or "password=" in parts.query or parts.scheme == "unix":
        return url
    try:
        password = file.read_text().strip()
    except OSError as error:
        raise ValueError(f"the password file {file} can't be read: {error.strerror}") from error
    if not password:
        raise ValueError(f"the password file {file} is empty")
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{place}").geturl()


class _Patience(Retry):
    """Tries again for a time rather than a number of times: a Redis that is silent takes long to fail once."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(ConstantBackoff(RETRY_PAUSE_S), retries=0, supported_errors=LOST)
        self._patience_s = patience_s

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        deadline = time.monotonic() + self._patience_s
        failures = 0
        while True:
            try:
                return do()
            except LOST as error:
                if is_retryable is not None and not is_retryable(error):
                    raise
                if isinstance(error, AuthenticationError | AuthorizationError):  # that time does not mend
                    raise
                failures += 1
                fail(error, failures) if with_failure_count else fail(error)
                if time.monotonic() >= deadline:
                    raise
                time.sleep(RETRY_PAUSE_S)


def require_redis(url: str, *, patience_s: float = 0.0) -> None:
    """Check that the Redis at ``url`` is one on which jobs are safe.

    Args:
        patience_s: how long to wait for one that does not answer.

    Raises:
        QueueUnreachable: it does not answer.
        RedisUnusable: it is none, is too old, wants another password, or is set up so that it would lose jobs.
    """
    place = _without_password(url)
    deadline = time.monotonic() + patience_s
    waits = False
    while True:
        try:
            info = _info(url, place)
        except QueueUnreachable as error:
            if time.monotonic() >= deadline:
                raise
            if not waits:
                log.warning("waiting for Redis: %s", error)
            waits = True
            time.sleep(RETRY_PAUSE_S)
        else:
            if info is not None:
                _require_fitness(info, place)
            return


def _info(url: str, place: str) -> dict[str, Any] | None:
    """What the Redis says of itself; None if it tells this user nothing, who may yet have the rights that count."""
    with connect(url, patience_s=0) as connection:
        try:
            return cast(dict[str, Any], connection.info())
        except NoPermissionError:
            return None
        except (AuthenticationError, AuthorizationError) as error:
            raise RedisUnusable(
                f"the Redis at {place} does not accept the user and password in DOPPEL_REDIS_URL, or their absence"
            ) from error
        except LOST as error:
            if isinstance(error, BusyLoadingError | TimeoutError) or isinstance(error.__context__, OSError):
                raise QueueUnreachable(
                    f"no Redis answers at {place} ({error}); start it, or set DOPPEL_REDIS_URL to another one"
                ) from error
            raise RedisUnusable(f"what answers at {place} is not a Redis ({error})") from error
        except RedisError as error:
            raise RedisUnusable(f"what answers at {place} is not a Redis of today ({error})") from error


def _require_fitness(info: dict[str, Any], place: str) -> None:
    version = str(info.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        raise RedisUnusable(f"the Redis at {place} has version {version}; Doppel needs 6.2 or newer")
    max_memory = int(info.get("maxmemory", 0))
    if max_memory == 0:
        return
    if max_memory < LEAST_MEMORY_MB << 20:
        raise RedisUnusable(
            f"the Redis at {place} may use only {max_memory >> 20} MB of memory; Doppel needs {LEAST_MEMORY_MB} MB at "
            "least: CONFIG SET maxmemory 512mb"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise RedisUnusable(
            f"the Redis at {place} drops jobs when its memory is full (maxmemory-policy {policy}); have it refuse new "
            "ones instead: CONFIG SET maxmemory-policy noeviction"
        )


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
