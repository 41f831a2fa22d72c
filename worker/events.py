"""The stream of job events, for any number of listeners in one process over one connection."""

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
    """Every job event from now on. Events are lost while Redis is away: look at the jobs after a gap."""
    while True:
        client = connect_async(url)
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(contract.EVENTS)
                async for message in subscription.listen():
                    try:
                        event = JobEvent.model_validate_json(message["data"])
                    except ValidationError as error:
                        log.warning("an event was not understood: %s", error)
                    else:
                        yield event
        except RedisError as error:
            log.warning("lost the events: %s", error)
            await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            await client.aclose()
