"""Follow the events of all jobs."""

import asyncio
import logging
from collections.abc import Callable

from pydantic import ValidationError
from redis.exceptions import RedisError

from worker import contract
from worker.connection import RETRY_PAUSE_S
from worker.contract import JobEvent
from worker.shared_connection import subscribe

log = logging.getLogger("doppel.worker")


async def follow_events(url: str, on_event: Callable[[JobEvent], None]) -> None:
    """Call ``on_event`` with every job event from now on, until this is canceled.

    Reconnects when Redis is lost. Events published in the meantime are missed, so read the jobs' states as well.
    """

    def read(message: bytes) -> None:
        try:
            event = JobEvent.model_validate_json(message)
        except ValidationError as error:
            log.warning("ignored an event that cannot be read: %s", error)
        else:
            on_event(event)

    while True:
        try:
            await subscribe(url, contract.EVENTS, read)
        except (RedisError, OSError) as error:
            log.warning("lost the connection to the job events: %s", error)
            await asyncio.sleep(RETRY_PAUSE_S)
