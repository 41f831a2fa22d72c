"""The client's end of the inference queue for an event loop: what every picture needs, without threads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import cast

import redis
from redis.exceptions import NoScriptError
from rq.job import Job

from models.pictures import Picture
from models.provenance.origin import Origin
from worker import contract
from worker.allowances import Allowance
from worker.capacity import Capacity
from worker.connection import LOST, Command
from worker.contract import Arrangement, Delivery, JobState, Status, Task, WorkerReport
from worker.errors import LimitReached, RecordUnreadable
from worker.fair_order import FORESEE
from worker.inference_queue import (
    job_state,
    job_status,
    live_workers,
    new_meta,
    restored,
    rq_queue,
    translating_errors,
)
from worker.job_records import RECORD_TTL_S, dropped, once, owned, queued
from worker.kept_results import KeptResults
from worker.picture_bytes import history_key, output_key, pack, splices_key, unpack
from worker.queue_pace import Ended
from worker.shared_connection import SharedConnection
from worker.webhooks import Hook


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
        self._capacity = Capacity(limit)
        self._kept = KeptResults(rq_queue(connection), shared, record_ttl_s=record_ttl_s)
        self._keys = {name: rq_queue(connection, name).key for name in contract.JOB_QUEUES}
        self._looks: dict[tuple[str | None, bool], asyncio.Task[None]] = {}  # under way

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
        owner: str | None = None,
        origin: Origin | None = None,
        history: bytes | None = None,
        allowance: Allowance | None = None,
        write: Callable[[Sequence[Command], Allowance | None], Awaitable[object]] | None = None,
        hook: Hook | None = None,
    ) -> None:
        """Queue a task under a fresh job id. By the end Redis holds both the job and its pictures, on its disk.

        Args:
            client: who may find the job in a list.
            owner: the name of the API key that orders it.
            origin: what the result is made of and by what.
            history: the credentials that the first upload brought along.
            allowance: that the job counts towards; None: none.
            write: runs commands in Redis, all or none, if the allowance permits; None: :func:`once`.
            hook: whom to tell how the job ended.

        Raises:
            QueueFull: too many jobs or too many bytes are waiting.
            LimitReached: it would be more than the allowance.
        """
        data = pack(*pictures)
        nbytes = len(data) + task.result_bytes + len(history or b"")  # there must be room for the output too
        with translating_errors():
            await self._require_room(owner, nbytes, long=task.long)
            self._capacity.count(owner, long=task.long, work=task.work, nbytes=nbytes)
            meta = new_meta(task, decode_ms, notes, arrangement, delivery, origin, owner)
            commands = queued(contract.INFERENCE_QUEUE, job_id, task, data, meta)
            if history is not None:
                commands.append(("SET", history_key(job_id), history, "EX", RECORD_TTL_S))
            for listed in (client, owner and f"{owner}:"):
                commands += owned(listed, job_id) if listed else []
            if hook is not None:
                commands += hook.ordered()
            try:
                await (self._write(job_id, commands, allowance) if write is None else write(commands, allowance))
            except LimitReached as error:
                error.retry_after_s = self._capacity.retry_after_s(owner, long=task.long)
                raise

    async def _write(self, job_id: str, commands: Sequence[Command], allowance: Allowance | None) -> None:
        try:
            replies = await self._shared.transaction(once(job_id, commands, allowance, by_hash=True))
        except NoScriptError:  # Redis never saw it, or was started since
            replies = await self._shared.transaction(once(job_id, commands, allowance, by_hash=False))
        if allowance is not None and replies[-1] == b"full":
            await self._shared.execute(dropped(commands))
            raise allowance.exceeded()

    @contextlib.asynccontextmanager
    async def promised(self, owner: str | None, wait_s: float, *, long: bool) -> AsyncIterator[None]:
        """Check that a job of this owner would be taken now, and end within ``wait_s``, for a block that submits it.

        Args:
            wait_s: 0: whenever.
            long: whether it would be a long one.

        Raises:
            QueueFull: it would not, by how fast the queue has moved of late.
        """
        with translating_errors():
            if self._capacity.needs_look(owner, long=long):
                await self._look(owner, long=long)
        self._capacity.require_place(owner, long=long)
        if wait_s:
            self._capacity.require_time(owner, wait_s, long=long)
        with self._capacity.coming(owner):
            yield

    def ended(self, job: Ended) -> None:
        """Take note of the end of a job, whichever process it is of."""
        self._capacity.ended(job)

    async def _require_room(self, owner: str | None, nbytes: int, *, long: bool) -> None:
        if self._capacity.needs_look(owner, long=long, nbytes=nbytes):
            await self._look(owner, long=long)
        self._capacity.require_place(owner, long=long)
        self._capacity.require_share(owner, nbytes, long=long)
        if not (lacking := self._capacity.lacking(nbytes)):
            return
        if await self._kept.give_up(lacking):
            await self._look_anew(owner, long=long)
            lacking = self._capacity.lacking(nbytes)
        if lacking:
            raise self._capacity.memory_full(await self._kept.seconds_until(lacking))

    async def _look(self, owner: str | None, *, long: bool) -> None:
        """Look at the queue together with all who want to at this time: Redis goes through it job by job."""
        which = owner, long
        if (others := self._looks.get(which)) is not None:
            try:
                return await asyncio.shield(others)
            except LOST:  # they have waited longer for Redis than this one
                return await self._look_anew(owner, long=long)
        look = self._looks[which] = asyncio.create_task(self._look_anew(owner, long=long))

        def ended(look: asyncio.Task[None]) -> None:
            del self._looks[which]
            look.cancelled() or look.exception()  # those who waited may all have gone

        look.add_done_callback(ended)
        await asyncio.shield(look)

    async def _look_anew(self, owner: str | None, *, long: bool) -> None:
        keys, words = [self._keys[contract.INFERENCE_QUEUE]], [owner or "", int(long)]
        others = ("INFO", "memory"), ("HVALS", contract.CLAIMS)
        try:
            foreseen, report, claims = await self._shared.execute(FORESEE.call(keys, words), *others)
        except NoScriptError:  # Redis never saw it, or was started since
            foreseen, report, claims = await self._shared.execute(FORESEE.call(keys, words, by_hash=False), *others)
        memory = dict(line.split(b":", 1) for line in report.splitlines() if b":" in line)
        used, most = int(memory[b"used_memory"]), int(memory[b"maxmemory"])
        self._capacity.seen(owner, foreseen, long=long, used=used, memory=most, claims=claims)

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
