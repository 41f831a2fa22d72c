"""Connections to Redis that ride out its restart."""

import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

RETRY_PAUSE_S = 0.1
LOST = (ConnectionError, TimeoutError)


def connect(url: str, *, patience_s: float) -> redis.Redis:
    """A client that tries each command again for ``patience_s`` before it gives up on a lost Redis."""
    retry = Retry(ConstantBackoff(RETRY_PAUSE_S), retries=round(patience_s / RETRY_PAUSE_S), supported_errors=LOST)
    return redis.Redis.from_url(url, retry=retry, socket_connect_timeout=5)


def connect_async(url: str) -> redis.asyncio.Redis:
    """An asynchronous client for subscriptions; its user reconnects in its own loop."""
    return redis.asyncio.Redis.from_url(url, socket_connect_timeout=5)
