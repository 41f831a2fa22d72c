"""Adds to Redis what an API process has counted."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from worker.meters import FLUSH_S, Meter
from worker.shared_connection import SharedConnection

LAST_FLUSH_S = 1.0  # how long the end of the process waits for it

log = logging.getLogger("doppel.app")


@contextlib.asynccontextmanager
async def flushing(meter: Meter, shared: SharedConnection) -> AsyncIterator[None]:
    """Add what is counted every ``FLUSH_S`` during the block, and what is left at its end."""
    ended = asyncio.Event()
    task = asyncio.create_task(_flush_until(ended, meter, shared))
    try:
        yield
    finally:
        ended.set()
        with contextlib.suppress(TimeoutError):  # Redis may be away for good
            async with asyncio.timeout(LAST_FLUSH_S):
                await task


async def _flush_until(ended: asyncio.Event, meter: Meter, shared: SharedConnection) -> None:
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await ended.wait()
        try:
            await _flush(meter, shared)
        except RedisError as error:  # kept for the next time
            log.debug("cannot add to the meters: %s", error)


async def _flush(meter: Meter, shared: SharedConnection) -> None:
    with meter.additions() as additions:
        if additions:
            await shared.execute(*additions)
