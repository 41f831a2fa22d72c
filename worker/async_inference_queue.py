"""The client's end of the inference queue for an event loop: what every picture needs, without threads."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import redis
from redis.exceptions import NoScriptError
from rq.job import Job

from models.pictures import Picture
from models.provenance.origin import Origin
from worker import contract
from worker.capacity import Capacity
from worker.connection import Command
from worker.contract import Arrangement, Delivery, JobState, Status, Task, WorkerReport
from worker.errors import RecordUnreadable
from worker.inference_queue import (
    job_state,
    job_status,
    live_workers,
    new_meta,
    restored,
    rq_queue,
    translating_errors,
)
from worker.job_records import RECORD_TTL_S, once, owned, queued
from worker.kept_results import KeptResults
from worker.picture_bytes import history_key, output_key, pack, splices_key, unpack
from worker.shared_connection import SharedConnection


class AsyncInferenceQueue:
    """Methods with the names of :class:`worker.inference_queue.InferenceQueue`'s do as those do, over one connection.

    Every method raises :class:`QueueUnreachable` when Redis cannot be reached.

    Args:
        shared: the connection of all requests.
        connection: what RQ's objects are made with; nothing is asked over it.
        limit: most jobs that may wait.
        record_ttl_s: how long workers keep the record of a job that has ended.
    """

    def __init__(
        self, shared: SharedConnection, connection: redis.Redis, *, limit: int, record_ttl_s: int = RECORD_TTL_S
    ) -> None:
        self._shared = shared
        self._connection = connection
        self.capacity = Capacity(limit)
        self._kept = KeptResults(rq_queue(connection), shared, record_ttl_s=record_ttl_s)
        self._keys = {name: rq_queue(connection, name).key for name in contract.JOB_QUEUES}

    async def aclose(self) -> None:
        """Close the connection."""
        await self._shared.aclose()

    async def submit(
        self,
        task: Task,
        *pictures: Picture,
        decode_ms: float,
        job_id: str,
        notes: Sequence[str] = (),
        arrangement: Arrangement | None = None,
        delivery: Delivery | None = None,
        client: str | None = None,
        origin: Origin | None = None,
        history: bytes | None = None,
        write: Callable[[Sequence[Command]], Awaitable[object]] | None = None,
    ) -> None:
        """Queue a task under a fresh job id. By the end Redis holds both the job and its pictures, on its disk.

        Args:
            client: who may find the job in a list.
            origin: what the result is made of and by what.
            history: the credentials that the first upload brought along.
            write: runs commands in Redis, all or none; None: :func:`once`.

        Raises:
            QueueFull: too many jobs or too many bytes are waiting.
        """
        data = pack(*pictures)
        nbytes = len(data) + task.result_bytes + len(history or b"")  # there must be room for the output too
        with translating_errors():
            if self.capacity.needs_look(nbytes):
                await self._look()
            if (lacking := self.capacity.lacks(nbytes)) and await self._kept.give_up(lacking):
                await self._look()
            self.capacity.count(nbytes)
            meta = new_meta(task, decode_ms, notes, arrangement, delivery, origin)
            commands = queued(contract.INFERENCE_QUEUE, job_id, task, data, meta)
            if history is not None:
                commands.append(("SET", history_key(job_id), history, "EX", RECORD_TTL_S))
            if client is not None:
                commands += owned(client, job_id)
            if write is not None:
                await write(commands)
                return
            try:
                await self._shared.transaction(once(job_id, commands, by_hash=True))
            except NoScriptError:  # Redis never saw it, or was started since
                await self._shared.transaction(once(job_id, commands, by_hash=False))

    async def waiting(self) -> int:
        """How many jobs are in the queue, by a look that is not old."""
        with translating_errors():
            if self.capacity.needs_look(0):
                await self._look()
        return self.capacity.waiting

    async def _look(self) -> None:
        waiting, report, claims = await self._shared.execute(
            ("LLEN", self._keys[contract.INFERENCE_QUEUE]), ("INFO", "memory"), ("HVALS", contract.CLAIMS)
        )
        memory = dict(line.split(b":", 1) for line in report.splitlines() if b":" in line)
        self.capacity.seen(waiting, int(memory[b"used_memory"]), int(memory[b"maxmemory"]), claims)

    async def states(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """Look up jobs; None for each that does not exist, or no longer. Two round trips at most."""
        with translating_errors():
            records = await self._shared.execute(*(("HGETALL", Job.key_for(job_id)) for job_id in job_ids))
            jobs = [
                restored(self._connection, job_id, dict(zip(record[::2], record[1::2], strict=True)))
                if record
                else None
                for job_id, record in zip(job_ids, records, strict=True)
            ]
            waiting = [job for job in jobs if job and job_status(job) is Status.QUEUED and job.origin in self._keys]
            commands = [("LPOS", self._keys[job.origin], job.id) for job in waiting]
            positions = await self._shared.execute(*commands) if commands else []
        ahead = {job.id: position for job, position in zip(waiting, positions, strict=True)}
        return [job_state(job, ahead.get(job.id)) if job else None for job in jobs]

    async def state(self, job_id: str) -> JobState | None:
        return (await self.states([job_id]))[0]

    async def result(self, job_id: str) -> list[Picture] | None:
        """Return the job's pictures, (H, W, 3) uint8 RGB each; None before they exist and after they expired.

        Raises:
            RecordUnreadable: what is stored is no pictures.
        """
        with translating_errors():
            [data] = await self._shared.execute(("GET", output_key(job_id)))
        try:
            return None if data is None else unpack(cast(bytes, data))
        except ValueError as error:
            raise RecordUnreadable(f"The result of this job can't be read: {error}.") from error

    async def signing(self, job_id: str, media_type: str) -> tuple[bytes | None, bytes | None]:
        """The credentials that the job's first upload brought along, and what :meth:`keep_splices` kept."""
        with translating_errors():
            keys = history_key(job_id), splices_key(job_id, media_type)
            history, splices = await self._shared.execute(*(("GET", key) for key in keys))
        return cast(bytes | None, history), cast(bytes | None, splices)

    async def keep_splices(self, job_id: str, media_type: str, splices: bytes) -> bytes:
        """Keep what signing added to a job's result, so that it is the same in each answer.

        Returns:
            What is kept from now on: what another process was the first to keep, if there is such.
        """
        key = splices_key(job_id, media_type)
        with translating_errors():
            _, kept = await self._shared.execute(("SET", key, splices, "NX", "EX", RECORD_TTL_S), ("GET", key))
        return cast(bytes | None, kept) or splices

    async def keep(self, job_ids: Sequence[str], *, for_s: int) -> None:
        """Keep the results of these jobs for this long from now, instead of what the worker set."""
        with translating_errors():
            keys = [key(job_id) for job_id in job_ids for key in (output_key, history_key)]
            await self._shared.execute(*(("EXPIRE", key, for_s) for key in keys))

    async def workers(self, *, seen_within_s: float) -> list[WorkerReport]:
        """List the workers whose last heartbeat is at most ``seen_within_s`` old, by name."""
        with translating_errors():
            [reports] = await self._shared.execute(("HVALS", contract.WORKERS))
        return live_workers(reports, seen_within_s)
