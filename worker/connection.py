"""Connections to Redis that ride out its restart."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

T = TypeVar("T")

RETRY_PAUSE_S = 0.1
SILENCE_S = 5  # after which a Redis that says nothing is taken for lost
BLOCKED_S = 2  # that a worker waits for a job in one command: well below that, or its waiting would look like a loss
LOST = (ConnectionError, TimeoutError)


def connect(url: str, *, patience_s: float) -> redis.Redis:
    """A client that tries each command again for ``patience_s`` before it gives up on a lost Redis."""
    return redis.Redis.from_url(
        url, retry=_Patience(patience_s), socket_timeout=SILENCE_S, socket_connect_timeout=SILENCE_S
    )


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
                failures += 1
                fail(error, failures) if with_failure_count else fail(error)
                if time.monotonic() >= deadline:
                    raise
                time.sleep(RETRY_PAUSE_S)


def connect_async(url: str) -> redis.asyncio.Redis:
    """An asynchronous client for subscriptions; its user reconnects in its own loop."""
    return redis.asyncio.Redis.from_url(url, socket_connect_timeout=SILENCE_S)
