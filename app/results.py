"""Waiting for jobs: one dispatcher an API process, however many requests wait."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool

from worker.contract import HEARTBEAT_S, JobEvent
from worker.errors import QueueUnreachable
from worker.events import job_events
from worker.inference_queue import InferenceQueue

SWEEP_S = 2.0  # catches what no event told: lost while Redis was away, or a job ended by RQ itself
DELIVERED_TTL_S = 30  # a result that its client has is kept for a second look
ALIVE_S = 3 * HEARTBEAT_S  # a worker that was heard of within this time is alive

log = logging.getLogger("doppel.app")

Events = asyncio.Queue[JobEvent]


class Dispatcher:
    """Passes job events from one subscription on to those who wait, and knows when a worker was last heard of."""

    def __init__(self, queue: InferenceQueue, redis_url: str) -> None:
        self._queue = queue
        self._redis_url = redis_url
        self._watchers: dict[str, set[Events]] = {}
        self._delivered: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._worker_seen_at = time.monotonic()  # a worker gets as long to appear as it may stay away later

    async def __aenter__(self) -> "Dispatcher":
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._sweep())]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[Events]:
        """The events of one job from now on. To miss none, begin before the job is submitted."""
        events: Events = asyncio.Queue()
        self._watchers.setdefault(job_id, set()).add(events)
        try:
            yield events
        finally:
            watchers = self._watchers[job_id]
            watchers.remove(events)
            if not watchers:
                del self._watchers[job_id]

    def delivered(self, job_id: str) -> None:
        """Let a job's picture go soon: its client has it. Done with the next sweep, since nobody waits for it."""
        self._delivered.append(job_id)

    @property
    def no_worker_for_s(self) -> float:
        """Seconds since any worker was last known to be alive."""
        return time.monotonic() - self._worker_seen_at

    async def _listen(self) -> None:
        async for event in job_events(self._redis_url):
            self._pass_on(event)

    async def _sweep(self) -> None:
        while True:
            try:
                await self._look()
            except QueueUnreachable as error:
                log.warning("the jobs that are waited for were not looked at: %s", error)
            except Exception:  # whatever it is, the next look must come
                log.exception("the jobs that are waited for were not looked at")
            await asyncio.sleep(SWEEP_S)

    async def _look(self) -> None:
        if await run_in_threadpool(self._queue.workers, seen_within_s=ALIVE_S):
            self._worker_seen_at = time.monotonic()
        delivered, self._delivered = self._delivered, []
        if delivered:
            await run_in_threadpool(self._queue.keep, delivered, for_s=DELIVERED_TTL_S)
        watched = list(self._watchers)
        if not watched:
            return
        for state in await run_in_threadpool(self._queue.states, watched):
            if state is not None and state.status.ended:
                event = JobEvent(id=state.id, status=state.status, timings=state.timings, error=state.error)
                self._pass_on(event)

    def _pass_on(self, event: JobEvent) -> None:
        for events in self._watchers.get(event.id, ()):
            events.put_nowait(event)


async def ended(events: Events) -> JobEvent:
    """The event with which a job ends, of those that are still to come."""
    while True:
        event = await events.get()
        if event.status.ended:
            return event
