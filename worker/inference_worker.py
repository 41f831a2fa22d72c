"""The inference worker: takes jobs from the queue, runs compatible ones in one batch, and records how each ended.

It overrides ``execute_job``, as RQ 3.0 intends, and has RQ record failures with its private ``_handle_failure``. A
contract test checks that these names still exist.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import redis
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.suspension import is_suspended
from rq.worker import WorkerStatus

from models import logs
from models.pictures import Picture
from worker import contract
from worker.batching import PICK_SHORT, START, JobStarter, StartedJob
from worker.contract import Status, WorkerReport
from worker.direct_connection import DirectConnection
from worker.endings import SUCCEED, JobEnder
from worker.errors import DeviceFailed
from worker.heartbeat import ReportingWorker
from worker.inference_queue import rq_queue
from worker.job_meters import count_batch
from worker.job_records import JOB_TIMEOUT_S, RECORD_TTL_S
from worker.job_traces import trace_batch
from worker.meters import Meter
from worker.process_memory import gpu_memory_mb, resident_mb
from worker.taken_queue import Taken, TakenQueue
from worker.tasks import Begun, LoadedTask, Result, RunningJob, TaskRunner, within
from worker.tracer import Tracer

SUSPENSION_AGE_S = 1.0  # how late `rq suspend` may be heeded
POLL_S = 0.001  # between two looks for a job while a batch is computed
LOOK_S = 0.001  # in which another job comes, if jobs keep coming
MAX_JOB_S = 3600.0  # for the steps of a long job
PATIENCE_S = 30  # with a lost Redis, before the batch in hand is given up to another worker

log = logging.getLogger("doppel.worker")


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
        batch_wait_ms: how long to wait at most for more jobs, while they keep coming, once a batch has two.
        result_ttl_s: how long a generated picture is kept.
        tracer: records what the jobs of traced requests went through.
        max_job_s: how long the steps of a long job may take together.
    """

    reports = contract.WORKERS
    queue_class = TakenQueue

    def __init__(
        self,
        connection: redis.Redis,
        runner: TaskRunner,
        *,
        device: str,
        max_batch: int,
        batch_wait_ms: float,
        result_ttl_s: int,
        tracer: Tracer | None = None,
        max_job_s: float = MAX_JOB_S,
    ) -> None:
        queue = cast(TakenQueue, rq_queue(connection, kind=TakenQueue))
        name = worker_name(os.getpid())
        super().__init__([queue], name=name, connection=connection, serializer=queue.serializer, worker_ttl=60)
        self.log_job_description = False
        self._runner = runner
        self._device = device
        self._max_batch = max_batch
        self._batch_wait_s = batch_wait_ms / 1000
        self._redis = DirectConnection(connection, START.text, PICK_SHORT.text, SUCCEED.text, patience_s=PATIENCE_S)
        self._starter = queue.starter = JobStarter(queue, self, self._redis)
        queue.max_batch = max_batch
        record_ttl_s = max(RECORD_TTL_S, result_ttl_s)
        self._ender = JobEnder(queue, self, self._redis, record_ttl_s=record_ttl_s, result_ttl_s=result_ttl_s)
        self._max_job_s = max_job_s
        self._running: list[RunningJob] = []
        self._batch_started: float | None = None
        self._meter = Meter()
        self._tracer = tracer or Tracer()
        self._device_error: Exception | None = None
        self._suspension_asked_at = 0.0
        self._is_suspended = False

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. The batch that is running then still finishes.

        Raises:
            DeviceFailed: the jobs in hand are left as by a worker that died.
        """
        self.work(logging_level="WARNING")
        if self._device_error is not None:
            raise DeviceFailed(f"the device {self._device} failed; a new process is needed: {self._device_error}")

    def register_death(self) -> None:
        """As RQ, but not after the device failed: whoever finds a worker that died puts its jobs back."""
        if self._device_error is None:
            with (
                contextlib.suppress(RedisError),
                self.connection.pipeline(transaction=False) as pipe,
                self._meter.added_by(pipe),
            ):
                pipe.execute()
            super().register_death()
        else:
            self.stop_heartbeats()

    def _require_device(self, error: Exception) -> None:
        """Leave RQ's loop if the device is the reason of an error, and will be that of all further ones."""
        if not self._runner.usable():
            self._device_error = error
            raise StopRequested from error

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

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """As RQ, but hand back what was taken at the very moment at which a signal ended the waiting."""
        try:
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        except StopRequested:
            self._state = WorkerStatus.BUSY  # or a second signal would leave this undone
            for started in self._starter.interrupted():
                self._ender.hand_back(RunningJob.load(started))
            raise

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run the jobs that were taken, and then those that are queued.

        Where jobs are computed beside this thread, the batch before one is ended, and the next one taken, meanwhile.
        """
        batch = self._filled(cast(Taken, job).started)
        computing: _Computing | None = None
        self._state = WorkerStatus.BUSY  # from now on a signal waits for the end of the batch
        try:
            while batch:
                self._running = [*self._running, *batch]  # its leases are renewed from now on
                before, computing = computing, self._begin(batch)
                if before is not None:
                    self._finish(before, idle=False)
                if computing is None:
                    self._running = []
                    batch = self._run_started(batch, and_next=True)
                else:
                    batch = self._next_batch(computing)
        finally:
            if computing is not None and self._device_error is None:
                self._finish(computing, idle=True)
            self._state = WorkerStatus.IDLE

    def _next_batch(self, computing: "_Computing") -> list[RunningJob]:
        """Queued jobs, as soon as there are any; none if the batch is done first, or if RQ wants this thread back."""
        while not self._is_wanted_back():
            with contextlib.suppress(OutOfMemoryError):  # while Redis is full, nothing can be taken
                if started := self._starter.start_next(self._max_batch):
                    return self._filled(started)
            if computing.begun.done():
                break
            time.sleep(POLL_S)
        return []

    def _is_wanted_back(self) -> bool:
        """Whether RQ has something else for this thread to do."""
        return self._stop_requested or self.should_run_maintenance_tasks or self._suspended()

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
            self._require_device(error)
            log.warning("a batch of %d failed (%s) and runs again", len(tasks), error)
            results = self._run_short(tasks)
        self._note(computing.runnable, results, computing.started)
        self._ender.end(computing.batch, idle=idle)
        self._running = self._running[len(computing.batch) :]
        self._batch_started = time.monotonic() if self._running else None

    def _run_started(self, batch: list[RunningJob], *, and_next: bool = False) -> list[RunningJob]:
        """Run jobs and end them.

        Args:
            and_next: start those that are queued in the same round trip.

        Returns:
            The jobs that were started.
        """
        interrupted = self._running
        self._running = [*interrupted, *batch]
        try:
            self._run_batch(batch)
            ended = [running for running in batch if not running.requeued]
            if not and_next or self._is_wanted_back():
                self._ender.end(ended, idle=not interrupted)
                return []
            following = self._starter.next_call(self._max_batch)
            try:
                [reply] = self._ender.end(ended, idle=not interrupted, following=[following.command])
            except OutOfMemoryError:  # by which nothing was started
                return []
        finally:
            self._running = interrupted
        return self._filled(following.started(reply))

    def _filled(self, started: list[StartedJob]) -> list[RunningJob]:
        """Wait for more jobs while they keep coming, if there are several already: a lone job never waits."""
        deadline = time.monotonic() + self._batch_wait_s
        while 1 < len(started) < self._max_batch and time.monotonic() < deadline:
            batch_key = started[0].batch_key
            assert batch_key is not None, "a job that must run alone is in a batch"
            time.sleep(LOOK_S)
            more = self._starter.start_compatible(batch_key, self._max_batch - len(started))
            if not more:
                break
            started += more
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
            running.end_with(result)
            running.meta.timings.inference_ms = inference_ms
        count_batch(self._meter, runnable, results)
        trace_batch(self._tracer, runnable, results, inference_ms)
        with logs.about(running.meta for running, _ in runnable):
            log.info("%s: %d in %.0f ms", runnable[0][1].task.batch_key, len(runnable), inference_ms)

    def _run_short(self, tasks: Sequence[LoadedTask]) -> list[Result | Exception]:
        try:
            return list(self._runner.run_batch(tasks))
        except Exception as error:
            self._require_device(error)
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
        version: str | None = None
        with contextlib.closing(self._runner.run_in_steps(loaded)) as unbounded:
            steps = within(unbounded, self._max_job_s)
            while True:
                try:
                    step = next(steps, None)
                except Exception as error:
                    self._require_device(error)
                    return error
                if step is None:
                    return Result(pictures, version=version)
                pictures += step.pictures
                version = step.version
                running.meta.done = round(step.done, 3)
                if not self._save_progress(running):
                    return None
                if self._stop_requested:
                    self._ender.hand_back(running)
                    return None
                if not alone:
                    self._run_short_job()
                self._batch_started = time.monotonic()

    def _run_short_job(self) -> None:
        """Run one short job, if one is queued, with those that fit its batch."""
        started: list[StartedJob] = []
        # While Redis is full, nothing can be taken; an id that is no text is left to the janitor.
        with contextlib.suppress(OutOfMemoryError, UnicodeDecodeError):
            if (short := self._starter.pick_short()) is not None:
                started = self._starter.start(short, self._max_batch)
        if started:
            self._run_started(self._filled(started))

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
