"""The inference queue as tests and benches use it: without an event loop of their own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from models.pictures import Picture
from worker.async_inference_queue import AsyncInferenceQueue
from worker.connection import connect
from worker.contract import Task
from worker.inference_queue import InferenceQueue, new_job_id
from worker.shared_connection import SharedConnection

T = TypeVar("T")


class BlockingQueue(InferenceQueue):
    """Also what the API does on its event loop, each time over a connection of its own."""

    def __init__(self, url: str, *, patience_s: float = 5.0, limit: int = 1000) -> None:
        super().__init__(connect(url, patience_s=patience_s))
        self._url = url
        self._patience_s = patience_s
        self._limit = limit

    def submit(
        self,
        task: Task,
        *pictures: Picture,
        decode_ms: float = 1,
        job_id: str | None = None,
        owner: str | None = None,
    ) -> str:
        """Queue a task; its job's id. Arguments and errors as of :meth:`AsyncInferenceQueue.submit`."""
        chosen = job_id or new_job_id()
        self._asked(lambda jobs: jobs.submit(task, *pictures, decode_ms=decode_ms, job_id=chosen, owner=owner))
        return chosen

    def result(self, job_id: str) -> list[Picture] | None:
        """As :meth:`AsyncInferenceQueue.result`."""
        return self._asked(lambda jobs: jobs.result(job_id))

    def _asked(self, ask: Callable[[AsyncInferenceQueue], Awaitable[T]]) -> T:
        async def answer() -> T:
            async with contextlib.aclosing(SharedConnection(self._url, patience_s=self._patience_s)) as shared:
                return await ask(AsyncInferenceQueue(shared, self.connection, limit=self._limit))

        return asyncio.run(answer())
