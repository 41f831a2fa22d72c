"""Subscribe to job events."""

import asyncio
import logging
from collections.abc import AsyncIterator

from pydantic import ValidationError
from redis.exceptions import RedisError

from worker import contract
from worker.connection import RETRY_PAUSE_S, connect_async
from worker.contract import JobEvent

log = logging.getLogger("doppel.worker")


async def job_events(url: str) -> AsyncIterator[JobEvent]:
    """Yield every job event from now on.

    Reconnects when Redis is lost. Events published in the meantime are missed, so read the jobs' states as well.
    """
    while True:
        client = connect_async(url)
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(contract.EVENTS)
                async for message in subscription.listen():
                    try:
                        event = JobEvent.model_validate_json(message["data"])
                    except ValidationError as error:
                        log.warning("ignored an event that cannot be read: %s", error)
                    else:
                        yield event
        except RedisError as error:
            log.warning("lost the connection to the job events: %s", error)
            await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            await client.aclose()
