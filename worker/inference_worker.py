"""The inference worker: takes jobs from the queue, runs compatible ones in one batch, and records how each ended.

It overrides ``execute_job``, as RQ 3.0 intends, and has RQ record failures with its private ``_handle_failure``. A
contract test checks that these names still exist.
"""

import contextlib
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, RedisError
from rq import Queue, SimpleWorker
from rq.job import Job, JobStatus
from rq.suspension import is_suspended
from rq.utils import now
from rq.worker import WorkerStatus

from models import logs
from models.pictures import Picture
from worker import contract
from worker.batching import JobStarter
from worker.contract import Status, WorkerReport
from worker.errors import TaskError
from worker.guarded_writes import GuardedWrites
from worker.heartbeat import ReportingWorker
from worker.inference_queue import forbid_cancel, rq_queue
from worker.job_meters import count_batch
from worker.job_records import CANCELABLE_FIELD, JOB_TIMEOUT_S, RECORD_TTL_S
from worker.malformed_records import refuse_unreadable
from worker.meters import Meter
from worker.picture_bytes import input_key, pack
from worker.process_memory import gpu_memory_mb, resident_mb
from worker.successes import Success, SuccessWriter
from worker.tasks import Begun, LoadedTask, Result, RunningJob, TaskRunner, failure_of

SUSPENSION_AGE_S = 1.0  # how late `rq suspend` may be heeded
POLL_S = 0.001  # between two looks for a job while a batch is computed
NO_JOB = ""  # the status of a job that is no longer there
FULL_MEMORY_WAITS_S = (0.0, 0.1, 0.5, 2.0)  # Redis frees the buffers of large replies with some delay

log = logging.getLogger("doppel.worker")


class UnreadQueue(Queue):
    """Hands out jobs by their ids alone: the worker reads them together with those that fit their batch."""

    @classmethod
    def _fetch_dequeued_job(
        cls, connection: redis.Redis, queue_key: str, job_id: str, *others: Any, **options: Any
    ) -> tuple[Job, Queue]:
        queue = cls.from_queue_key(queue_key, connection=connection, serializer=options.get("serializer"))
        return Job(job_id, connection=connection, serializer=options.get("serializer")), queue


@dataclass(frozen=True)
class _Computing:
    """A batch that is computed beside this thread."""

    batch: list[RunningJob]
    runnable: list[tuple[RunningJob, LoadedTask]]  # those that have a task
    begun: Begun
    started: float = field(default_factory=time.perf_counter)


class InferenceWorker(ReportingWorker, SimpleWorker):
    """Runs the jobs of the inference queue, compatible ones in batches.

    Args:
        runner: runs the tasks.
        device: where it runs them, for the worker's report.
        max_batch: most jobs in one batch.
        batch_wait_ms: how long to wait for more jobs once a batch has two.
        result_ttl_s: how long a generated picture is kept.
    """

    reports = contract.WORKERS
    queue_class = UnreadQueue

    def __init__(
        self,
        connection: redis.Redis,
        runner: TaskRunner,
        *,
        device: str,
        max_batch: int,
        batch_wait_ms: float,
        result_ttl_s: int,
    ) -> None:
        queue = rq_queue(connection, kind=UnreadQueue)
        name = worker_name(os.getpid())
        super().__init__([queue], name=name, connection=connection, serializer=queue.serializer, worker_ttl=60)
        self.log_job_description = False
        self._runner = runner
        self._device = device
        self._max_batch = max_batch
        self._batch_wait_s = batch_wait_ms / 1000
        self._record_ttl_s = max(RECORD_TTL_S, result_ttl_s)
        self._starter = JobStarter(queue, self)
        self._successes = SuccessWriter(queue, self, record_ttl_s=self._record_ttl_s, result_ttl_s=result_ttl_s)
        self._running: list[RunningJob] = []
        self._batch_started: float | None = None
        self._meter = Meter()
        self._suspension_asked_at = 0.0
        self._is_suspended = False

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. The batch that is running then still finishes."""
        self.work(logging_level="WARNING")

    def register_death(self) -> None:
        with (
            contextlib.suppress(RedisError),
            self.connection.pipeline(transaction=False) as pipe,
            self._meter.added_by(pipe),
        ):
            pipe.execute()
        super().register_death()

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Do nothing: RQ calls this around each job, which costs writes, and the heartbeat thread does the same."""

    def check_for_suspension(self, burst: bool) -> None:
        """Heed ``rq suspend`` within ``SUSPENSION_AGE_S``; RQ would ask Redis before each job."""
        if self._suspended():
            super().check_for_suspension(burst)

    def _suspended(self) -> bool:
        if time.monotonic() - self._suspension_asked_at > SUSPENSION_AGE_S:
            self._is_suspended = bool(is_suspended(self.connection))
            self._suspension_asked_at = time.monotonic()
        return self._is_suspended

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Write the state if it is another one. Start and end of a batch are written with its jobs."""
        if pipeline is not None or state != self.get_state():
            super().set_state(state, pipeline)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run the job with those that fit its batch and, where they are computed beside this thread, what is queued.

        While one batch is computed, the one before is ended and the next one is taken.
        """
        job_id: str | None = job.id
        computing: _Computing | None = None
        self._state = WorkerStatus.BUSY  # from now on a signal waits for the end of the batch
        try:
            while job_id is not None:
                batch = self._start(job_id)
                self._running = [*self._running, *batch]  # its leases are renewed from now on
                before, computing = computing, self._begin(batch)
                if before is not None:
                    self._finish(before, idle=not batch)
                if computing is None:
                    self._running = []
                    return self._run_started(batch)
                job_id = self._next_job(computing)
        finally:
            if computing is not None:
                self._finish(computing, idle=True)
            self._state = WorkerStatus.IDLE

    def _next_job(self, computing: "_Computing") -> str | None:
        """A queued job, as soon as there is one; None if the batch is done first, or if RQ wants this thread back."""
        while not (self._stop_requested or self.should_run_maintenance_tasks or self._suspended()):
            job_id = self._pick(self._starter.pick_next)
            if job_id is not None or computing.begun.done():
                return job_id
            time.sleep(POLL_S)
        return None

    def _begin(self, batch: list[RunningJob]) -> "_Computing | None":
        """Have the jobs computed beside this thread; None if that can't be."""
        runnable = [(running, running.loaded) for running in batch if running.loaded is not None]
        tasks = [loaded for _, loaded in runnable]
        if not tasks or tasks[0].task.long:
            return None
        self._batch_started = time.monotonic()
        try:
            begun = self._runner.begin(tasks)
        except Exception as error:
            log.warning("a batch of %d could not be started beside others: %s", len(tasks), error)
            return None
        return None if begun is None else _Computing(batch, runnable, begun)

    def _finish(self, computing: "_Computing", *, idle: bool) -> None:
        """Wait for a batch that was begun, and end its jobs."""
        tasks = [loaded for _, loaded in computing.runnable]
        try:
            results: Sequence[Result | Exception] = list(computing.begun.result())
        except Exception as error:
            log.warning("a batch of %d failed (%s) and runs again", len(tasks), error)
            results = self._run_short(tasks)
        self._note(computing.runnable, results, computing.started)
        self._end(computing.batch, idle=idle)
        self._running = self._running[len(computing.batch) :]
        self._batch_started = time.monotonic() if self._running else None

    def _run_with_compatible(self, job_id: str) -> None:
        """Run a job and those that fit its batch. A long job calls this between two steps, for short jobs."""
        self._run_started(self._start(job_id))

    def _run_started(self, batch: list[RunningJob]) -> None:
        if not batch:
            return
        interrupted = self._running
        self._running = [*interrupted, *batch]
        try:
            self._run_batch(batch)
            self._end([running for running in batch if not running.requeued], idle=not interrupted)
        finally:
            self._running = interrupted

    def _start(self, job_id: str) -> list[RunningJob]:
        """Start the job and compatible ones. Wait for more only if there is one already, so a lone job never waits."""
        try:
            started = self._starter.start(job_id, self._max_batch)
        except redis.ResponseError as error:
            if isinstance(error, OutOfMemoryError) or not refuse_unreadable(self.queues[0]):
                raise
            return []
        deadline = time.monotonic() + self._batch_wait_s
        while 1 < len(started) < self._max_batch and time.monotonic() < deadline:
            batch_key = started[0].batch_key
            assert batch_key is not None, "a job that must run alone is in a batch"
            time.sleep(0.001)
            started += self._starter.start_compatible(batch_key, self._max_batch - len(started))
        return [RunningJob.load(one) for one in started]

    def _run_batch(self, batch: list[RunningJob]) -> None:
        """Set the result of each job, or the exception that it raised."""
        self._batch_started = time.monotonic()
        runnable = [(running, running.loaded) for running in batch if running.loaded is not None]
        if runnable:
            tasks = [loaded for _, loaded in runnable]
            started = time.perf_counter()
            long = tasks[0].task.long
            results = [self._run_long(runnable[0][0], tasks[0])] if long else self._run_short(tasks)
            self._note(runnable, results, started)
        self._batch_started = None

    def _note(
        self,
        runnable: Sequence[tuple[RunningJob, LoadedTask]],
        results: Sequence[Result | Exception | None],
        started: float,
    ) -> None:
        inference_ms = round((time.perf_counter() - started) * 1000, 1)
        for (running, _), result in zip(runnable, results, strict=True):
            running.result = result
            running.meta.timings.inference_ms = inference_ms
        count_batch(self._meter, runnable, results)
        with logs.about(running.meta.request_id for running, _ in runnable):
            log.info("%s: %d in %.0f ms", runnable[0][1].task.batch_key, len(runnable), inference_ms)

    def _run_short(self, tasks: Sequence[LoadedTask]) -> list[Result | Exception]:
        try:
            return list(self._runner.run_batch(tasks))
        except Exception as error:
            if len(tasks) == 1:
                return [error]
            log.warning("a batch of %d failed (%s); its jobs run one by one", len(tasks), error)
            return [self._run_short([loaded])[0] for loaded in tasks]

    def _run_long(self, running: RunningJob, loaded: LoadedTask) -> Result | Exception | None:
        """Run a long job in steps; None if it was canceled or requeued before the last one.

        After each step it saves its progress and lets a short job run, unless it was tried before: then its worker
        died, and it must run alone.
        """
        alone = not running.started.first_try
        pictures: list[Picture] = []
        steps = self._runner.run_in_steps(loaded)
        while True:
            try:
                step = next(steps, None)
            except Exception as error:
                return error
            if step is None:
                return Result(pictures)
            pictures += step.pictures
            running.meta.done = round(step.done, 3)
            if not self._save_progress(running):
                return None
            if self._stop_requested:
                self._requeue(running)
                return None
            if not alone and (short := self._pick(self._starter.pick_short)) is not None:
                self._run_with_compatible(short)
            self._batch_started = time.monotonic()

    @staticmethod
    def _pick(move: Callable[[], str | None]) -> str | None:
        # While Redis is full, nothing can be moved; an id that is no text is left to the janitor.
        with contextlib.suppress(OutOfMemoryError, UnicodeDecodeError):
            return move()
        return None

    def _save_progress(self, running: RunningJob) -> bool:
        """Save and publish how far a long job is; return False if it was canceled meanwhile."""
        job = running.started.job
        status = self.connection.hget(job.key, "status")
        if status != b"started":
            return False
        job.meta = running.meta.model_dump(exclude_none=True)
        with contextlib.suppress(OutOfMemoryError), self.connection.pipeline() as pipe:
            pipe.hset(job.key, "meta", self.serializer.dumps(job.meta))
            pipe.publish(contract.EVENTS, running.event(Status.RUNNING))
            pipe.execute()
        return True

    def _requeue(self, running: RunningJob) -> None:
        """Put a long job back at the head of the queue, for another worker to start afresh. This costs it no try."""
        job = running.started.job
        running.requeued = forbid_cancel(self.connection, [job.key]) == [b"started"]
        if not running.requeued:
            return  # canceled, and to be ended as such
        with self.connection.pipeline() as pipe:
            job.set_status(JobStatus.QUEUED, pipeline=pipe)
            self.cleanup_execution(job, pipeline=pipe, execution=running.started.execution)
            pipe.lpush(self.queues[0].key, job.id)
            pipe.publish(contract.EVENTS, running.event(Status.QUEUED))
            pipe.execute()

    def _end(self, batch: list[RunningJob], *, idle: bool) -> None:
        """End every job of the batch: result, event, and RQ's registries as RQ would leave them.

        A job that was canceled keeps that status. One that the janitor queued again is left to its next worker.

        Args:
            idle: whether this worker then has nothing to do.
        """
        try:
            self._write_ends(batch, idle=idle)
        except OutOfMemoryError:
            # Without its input a job takes less memory, and a failure next to none.
            jobs = [running.started.job for running in batch]
            owned = forbid_cancel(self.connection, [job.key for job in jobs])
            inputs = [input_key(job.id) for job, status in zip(jobs, owned, strict=True) if status != b"queued"]
            if inputs:
                self.connection.delete(*inputs)
            for running in batch:
                self._write_end_in_full_memory(running, idle=idle)

    def _write_end_in_full_memory(self, running: RunningJob, *, idle: bool) -> None:
        """End one job although there may be no room for its result, or for a moment for anything at all."""
        for wait_s in FULL_MEMORY_WAITS_S:
            try:
                return self._write_ends([running], idle=idle)
            except OutOfMemoryError:
                running.result = TaskError("The memory for pictures is full: there was no room for the result.")
                time.sleep(wait_s)
        return self._write_ends([running], idle=idle)

    def _write_ends(self, batch: list[RunningJob], *, idle: bool) -> None:
        succeeded = [running for running in batch if isinstance(running.result, Result)]
        others = [running for running in batch if not isinstance(running.result, Result)]
        if others:
            self._write_failures(others, idle=idle and not succeeded)
        if succeeded:
            self._successes.write([self._success(running) for running in succeeded], idle=idle)

    @staticmethod
    def _success(running: RunningJob) -> Success:
        assert isinstance(running.result, Result), "a job that failed is no success"
        running.meta.style = running.result.style
        return Success(
            running.id,
            running.started.execution_id,
            running.started.started_at,
            pack(*running.result.pictures) if running.result.pictures else None,
            running.meta.model_dump_json(exclude_none=True),
            running.event(Status.SUCCEEDED),
        )

    def _write_failures(self, batch: list[RunningJob], *, idle: bool) -> None:
        """End jobs that failed, and clear up after those that were canceled."""
        writes = GuardedWrites(self.connection)
        pipe = self.connection.pipeline()
        for running in batch:
            job = running.started.job
            writes.add_job(job.key)
            if isinstance(running.result, Exception):
                self._write_failure(running, running.result, pipe)
                writes.add(pipe, if_status=[JobStatus.STARTED.value])
            pipe.delete(input_key(job.id))
            pipe.hdel(contract.CLAIMS, job.id)
            writes.add(
                pipe, if_status=[*(status.value for status in JobStatus if status is not JobStatus.QUEUED), NO_JOB]
            )
            self.cleanup_execution(job, pipeline=pipe, execution=running.started.execution)
            if idle:
                self.set_state(WorkerStatus.IDLE, pipeline=pipe)
                idle = False
            writes.add(pipe)
        writes.execute()

    def _write_failure(self, running: RunningJob, error: Exception, pipe: Pipeline) -> None:
        job = running.started.job
        job.ended_at = now()
        # RQ would try it again, but only the death of a worker is worth another try.
        with logs.about([running.meta.request_id]):
            running.meta.error = failure_of(error)
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job.save(pipeline=pipe, include_meta=False, include_result=False)
        job._handle_failure(
            "".join(traceback.format_exception(error)),
            pipe,
            worker_name=self.name,
            execution_id=running.started.execution_id,
            execution_started_at=running.started.started_at,
            execution_ended_at=job.ended_at,
        )
        self.increment_failed_job_count(pipe)
        self.increment_total_working_time(job.ended_at - running.started.started_at, pipe)
        pipe.hset(job.key, "meta", running.meta.model_dump_json(exclude_none=True))
        pipe.hdel(job.key, CANCELABLE_FIELD)
        job.cleanup(self._record_ttl_s, pipeline=pipe, remove_from_queue=False)
        pipe.publish(contract.EVENTS, running.event(Status.FAILED))

    def _beat(self) -> None:
        """Report this worker alive and renew the leases of its running jobs, which RQ's SimpleWorker does not do."""
        started = self._batch_started
        if started is not None and time.monotonic() - started > JOB_TIMEOUT_S:
            log.error("the batch has run for more than %d s; ending this process", JOB_TIMEOUT_S)
            os._exit(70)  # it hangs in native code, where no exception reaches it
        with self.connection.pipeline(transaction=False) as pipe, self._meter.added_by(pipe):
            super().heartbeat(pipeline=pipe)
            pipe.hset(contract.WORKERS, self.name, self._report().model_dump_json())
            pipe.execute()
        for running in list(self._running):
            self.maintain_heartbeats(running.started.job, running.started.execution)

    def _report(self) -> WorkerReport:
        return WorkerReport(
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            device=self._device,
            loaded=self._runner.loaded(),
            seen_at=time.time(),
            memory_mb=resident_mb(),
            gpu_memory_mb=gpu_memory_mb(self._device),
        )


def worker_name(pid: int) -> str:
    """The RQ name of the worker process on this host with this id."""
    return f"doppel-{socket.gethostname()}-{pid}"
