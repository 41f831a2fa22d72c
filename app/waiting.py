"""Waiting for jobs: one dispatcher per API process, however many requests wait."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.keyed_requests import keyed
from models.errors import Unavailable
from worker.async_inference_queue import AsyncInferenceQueue
from worker.contract import HEARTBEAT_S, JobEvent
from worker.errors import QueueUnreachable
from worker.events import follow_events
from worker.inference_queue import InferenceQueue

POLL_S = 2.0  # finds ends without an event: it was lost while Redis was away, or RQ itself ended the job
PROMPT_S = 0.05  # a job that ends so soon is not canceled by a client that disconnects
DELIVERED_TTL_S = 30  # how long a result is kept once its client has it
ALIVE_S = 3 * HEARTBEAT_S  # a worker whose last heartbeat is at most this old is alive
NO_WORKER_S = 30  # without a live worker, before jobs are refused; a restart takes less

log = logging.getLogger("doppel.app")

Events = asyncio.Queue[JobEvent]


class Dispatcher:
    """Passes job events from one subscription on to the requests that wait, and notices when no worker is alive."""

    def __init__(self, queue: InferenceQueue, jobs: AsyncInferenceQueue, redis_url: str) -> None:
        self._queue = queue
        self._jobs = jobs
        self._redis_url = redis_url
        self._watchers: dict[str, set[Events]] = {}
        self._delivered: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._worker_seen_at = time.monotonic()  # at the start, workers get as long to appear as later to restart

    async def __aenter__(self) -> "Dispatcher":
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def require_worker(self) -> None:
        """Check that a worker could take a job.

        Raises:
            Unavailable: none has been alive for ``NO_WORKER_S``.
        """
        if time.monotonic() - self._worker_seen_at <= NO_WORKER_S:
            return
        if not await self._look_for_workers():  # one may have started since the last poll
            raise Unavailable(
                f"No worker has reported for {NO_WORKER_S} s. The operator starts one with: doppel worker"
            )

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[Events]:
        """Collect the events of one job. To miss none, enter this before the job is submitted."""
        events: Events = asyncio.Queue()
        self._watchers.setdefault(job_id, set()).add(events)
        try:
            yield events
        finally:
            watchers = self._watchers[job_id]
            watchers.remove(events)
            if not watchers:
                del self._watchers[job_id]

    async def wait_for_end(self, request: Request, job_id: str, events: Events, timeout_s: float) -> JobEvent | None:
        """Return the event that ends the job, or None after ``timeout_s``.

        If the client disconnects, the job is canceled, unless the request has a key: then the client comes back for it.

        Args:
            events: of :meth:`watching` this job.
        """
        with contextlib.suppress(TimeoutError):  # most jobs end before it is worth looking for a disconnect
            async with asyncio.timeout(min(timeout_s, PROMPT_S)):
                return await _end(events)
        end = asyncio.ensure_future(_end(events))
        disconnect = asyncio.ensure_future(_disconnect(request))
        try:
            left_s = max(0.0, timeout_s - PROMPT_S)
            await asyncio.wait({end, disconnect}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                return end.result()
            if disconnect.done() and keyed(request) is None:
                await run_in_threadpool(self._queue.cancel, job_id)
            return None
        finally:
            end.cancel()
            disconnect.cancel()

    def delivered(self, job_id: str) -> None:
        """Let the job's result expire soon, since its client has it. Done at the next poll, for which nobody waits."""
        self._delivered.append(job_id)

    async def _listen(self) -> None:
        await follow_events(self._redis_url, self._pass_on, self._jobs.ended, wanted=self._watchers)

    async def _poll(self) -> None:
        while True:
            try:
                await self._poll_once()
            except QueueUnreachable as error:
                log.warning("cannot poll the jobs that clients wait for: %s", error)
            except Exception:  # whatever it is, polling must go on
                log.exception("cannot poll the jobs that clients wait for")
            await asyncio.sleep(POLL_S)

    async def _look_for_workers(self) -> bool:
        if not await self._jobs.workers(seen_within_s=ALIVE_S):
            return False
        self._worker_seen_at = time.monotonic()
        return True

    async def _poll_once(self) -> None:
        await self._look_for_workers()
        delivered, self._delivered = self._delivered, []
        if delivered:
            await self._jobs.keep(delivered, for_s=DELIVERED_TTL_S)
        watched = list(self._watchers)
        if not watched:
            return
        for state in await self._jobs.states(watched):
            if state is not None and state.status.ended:
                event = state.event()
                self._pass_on(event)

    def _pass_on(self, event: JobEvent) -> None:
        for events in self._watchers.get(event.id, ()):
            events.put_nowait(event)


async def _end(events: Events) -> JobEvent:
    while True:
        event = await events.get()
        if event.status.ended:
            return event


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
