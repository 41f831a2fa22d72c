"""Follow the events of all jobs."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Container

from pydantic import ValidationError
from redis.exceptions import RedisError

from worker import contract
from worker.connection import RETRY_PAUSE_S, SILENCE_S
from worker.contract import JobEvent, Status
from worker.queue_pace import Ended
from worker.shared_connection import subscribe

STEADY_S = 2 * SILENCE_S  # a try that ends sooner never had the connection, or not for long: nothing new to log
# As every event begins. Only those of the inference queue's jobs say how much work it was.
_HEAD = re.compile(rb'\{"id":"(\w+)","status":"(\w+)"(?:,"owner":"([^"\\]*)")?(?:,"work":([1-9]\d{0,8})\b)?', re.ASCII)
_TOOK = re.compile(rb'"inference_ms":(\d{1,9}(?:\.\d+)?)\b')
_ENDS = {Status.SUCCEEDED.value.encode(), Status.FAILED.value.encode()}

log = logging.getLogger("doppel.worker")


def _ended(head: re.Match[bytes], message: bytes) -> Ended:
    took = _TOOK.search(message, head.end())
    owner = head[3].decode(errors="replace") if head[3] else None
    return Ended(owner, int(head[4]), float(took[1]) / 1000 if took else 0.0)


async def follow_events(
    url: str,
    on_event: Callable[[JobEvent], None],
    on_end: Callable[[Ended], None],
    *,
    wanted: Container[str],
) -> None:
    """Call ``on_event`` with the events of some jobs from now on, until this is canceled.

    Reconnects when Redis is lost. Events published in the meantime are missed, so read the jobs' states as well.

    Args:
        on_end: called whenever any job of the inference queue has succeeded or failed.
        wanted: the ids of the jobs that ``on_event`` is for, at each moment. Events of others are not parsed.
    """

    def read(message: bytes) -> None:
        if head := _HEAD.match(message):
            if head[2] in _ENDS and head[4]:
                on_end(_ended(head, message))
            if head[1].decode() not in wanted:
                return
        try:
            event = JobEvent.model_validate_json(message)
        except ValidationError as error:
            log.warning("ignored an event that cannot be read: %s", error)
        else:
            on_event(event)

    away = False
    while True:
        began = time.monotonic()
        try:
            await subscribe(url, contract.EVENTS, read)
        except (RedisError, OSError) as error:
            away = away and time.monotonic() - began < STEADY_S
            log.log(logging.DEBUG if away else logging.WARNING, "lost the connection to the job events: %s", error)
            away = True
            await asyncio.sleep(RETRY_PAUSE_S)
