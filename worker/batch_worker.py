"""The batch worker: RQ's bookkeeping for each job, one call of the model for many.

It overrides the one method that RQ 3.0 asks to be overridden, ``execute_job``, and writes RQ's records by its private
``_handle_success`` and ``_handle_failure``; a contract test holds both names.
"""

import contextlib
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import redis
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import now
from rq.worker import WorkerStatus

from models.pictures import Picture
from worker import contract
from worker.contract import LEASE_S, LONG_KINDS, MAX_TRIES, Status, WorkerReport
from worker.errors import TaskError
from worker.heartbeat import ReportingWorker
from worker.inference_queue import CANCELABLE_FIELD, JOB_TIMEOUT_S, RECORD_TTL_S, claim_end, rq_queue
from worker.mates import Mates
from worker.payload import input_key, output_key, pack
from worker.work import Outcome, Perform, Running, Stream, Work, failure_of, task_of

FULL_MEMORY_WAITS_S = (0.0, 0.1, 0.5, 2.0)  # Redis frees what large answers took with some delay

log = logging.getLogger("doppel.worker")


class InferenceWorker(ReportingWorker, SimpleWorker):
    """Takes jobs from the one inference queue and runs compatible ones as a batch.

    Args:
        perform: given N works of one batch key, returns what came of each.
        stream: given a long work, yields its pictures some at a time.
        loaded: names of the models in memory, for the worker's report.
        on_heartbeat: called about every ``HEARTBEAT_S`` from the heartbeat thread.
        max_batch: most jobs in one batch.
        batch_wait_ms: how long to wait for more mates once there are some.
        result_ttl_s: how long a translated picture is kept.
    """

    reports = contract.WORKERS

    def __init__(
        self,
        connection: redis.Redis,
        perform: Perform,
        stream: Stream,
        *,
        device: str,
        loaded: Callable[[], list[str]],
        on_heartbeat: Callable[[], None],
        max_batch: int,
        batch_wait_ms: float,
        result_ttl_s: int,
    ) -> None:
        queue = rq_queue(connection)
        name = worker_name(os.getpid())
        super().__init__([queue], name=name, connection=connection, serializer=queue.serializer, worker_ttl=60)
        self.log_job_description = False
        self._do = perform
        self._stream = stream
        self._device = device
        self._loaded = loaded
        self._on_heartbeat = on_heartbeat
        self._max_batch = max_batch
        self._batch_wait_s = batch_wait_ms / 1000
        self._result_ttl_s = result_ttl_s
        self._record_ttl_s = max(RECORD_TTL_S, result_ttl_s)
        self._mates = Mates(queue)
        self._running: list[Running] = []
        self._batch_started: float | None = None

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, which let the batch in hand finish."""
        self.work(logging_level="WARNING")

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Nothing: RQ calls this around each job, which costs writes; the heartbeat thread says all there is to say."""

    def execute_job(self, job: Job, queue: Queue) -> None:
        self._run(job)

    def _run(self, job: Job) -> None:
        """Run a job with its mates; also in the middle of a long job, which they pass."""
        batch = self._start(self._gather(job))
        if not batch:
            return
        passed = self._running
        self._running = [*passed, *batch]
        try:
            self._perform(batch)
            self._finish([running for running in batch if not running.queued])
        finally:
            self._running = passed

    def _gather(self, job: Job) -> list[Job]:
        """The job and its mates. Waits for more only when there already are some, or a lone picture would wait too."""
        task = task_of(job)
        if isinstance(task, Exception) or job.retries_left != MAX_TRIES - 1 or task.kind in LONG_KINDS:
            return [job]
        batch_key = task.batch_key
        jobs = [job]
        deadline = time.monotonic() + self._batch_wait_s
        while len(jobs) < self._max_batch:
            mates = self._mates.take(batch_key, self._max_batch - len(jobs))
            jobs += mates
            if len(jobs) == 1 or time.monotonic() >= deadline:
                break
            if not mates:
                time.sleep(0.001)
        return jobs

    def _start(self, jobs: list[Job]) -> list[Running]:
        """Mark the jobs as running, all in one round trip; those canceled or ended meanwhile are dropped."""
        queue = self.queues[0]
        with self.connection.pipeline(transaction=False) as pipe:
            for job in jobs:
                pipe.hget(job.key, "status")
                pipe.get(input_key(job.id))
            replies = pipe.execute()
        batch = []
        with self.connection.pipeline() as pipe:
            for job, status, data in zip(jobs, replies[::2], replies[1::2], strict=True):
                pipe.lrem(queue.intermediate_queue_key, 1, job.id)
                if status != b"queued":
                    continue
                execution = Execution.create(job, LEASE_S, pipeline=pipe, worker_name=self.name)
                self.executions[execution.id] = execution
                job.heartbeat(now(), LEASE_S, pipeline=pipe)
                job.prepare_for_execution(self.name, pipeline=pipe)
                pipe.hset(job.key, CANCELABLE_FIELD, 1)
                pipe.persist(job.key)
                running = Running.of(job, execution, data)
                pipe.publish(contract.EVENTS, running.event(Status.RUNNING))
                batch.append(running)
            self.set_state(WorkerStatus.BUSY, pipeline=pipe)
            pipe.execute()
        return batch

    def _perform(self, batch: list[Running]) -> None:
        """Give each job of the batch its outcome: what came of it, or the exception that was its own."""
        self._batch_started = time.monotonic()
        ready = [(running, running.work) for running in batch if running.work is not None]
        if ready:
            works = [work for _, work in ready]
            started = time.perf_counter()
            long = works[0].task.kind in LONG_KINDS
            outcomes = [self._long_outcome(ready[0][0], works[0])] if long else self._outcomes(works)
            inference_ms = round((time.perf_counter() - started) * 1000, 1)
            for (running, _), outcome in zip(ready, outcomes, strict=True):
                running.outcome = outcome
                running.meta.timings.inference_ms = inference_ms
            log.info("%s: %d in %.0f ms", works[0].task.batch_key, len(works), inference_ms)
        self._batch_started = None

    def _long_outcome(self, running: Running, work: Work) -> Outcome | Exception | None:
        """All pictures of a long job, or None if it is not to be ended here: canceled, or handed back.

        Between some pictures and the next its progress is told and short jobs pass it, unless it was tried before:
        then its worker died, and it runs alone.
        """
        alone = running.job.retries_left != MAX_TRIES - 1
        pictures: list[Picture] = []
        stream = self._stream(work)
        while True:
            try:
                some = next(stream, None)
            except Exception as error:
                return error
            if some is None:
                return pictures
            pictures += some
            painted = len(pictures) - (len(work.pictures) if work.task.kind == "grid" else 0)
            running.meta.done = round(painted / work.task.cells, 3)
            if not self._tell_progress(running):
                return None
            if self._stop_requested:
                self._hand_back(running)
                return None
            if not alone and (short := self._next_short()) is not None:
                self._run(short)
            self._batch_started = time.monotonic()

    def _next_short(self) -> Job | None:
        with contextlib.suppress(OutOfMemoryError):  # while Redis is full, nothing can be moved
            return self._mates.take_short()
        return None

    def _hand_back(self, running: Running) -> None:
        """Put a long job back at the head of the queue, for another worker to begin anew; no try is used up."""
        job = running.job
        running.queued = claim_end(self.connection, [job.key]) == [b"started"]
        if not running.queued:
            return  # canceled, and to be ended as such
        with self.connection.pipeline() as pipe:
            job.set_status(JobStatus.QUEUED, pipeline=pipe)
            self.cleanup_execution(job, pipeline=pipe, execution=running.execution)
            pipe.lpush(self.queues[0].key, job.id)
            pipe.publish(contract.EVENTS, running.event(Status.QUEUED))
            pipe.execute()

    def _tell_progress(self, running: Running) -> bool:
        """Note how far a long job is; False if it was canceled meanwhile."""
        job = running.job
        status = self.connection.hget(job.key, "status")
        if status != b"started":
            return False
        job.meta = running.meta.model_dump(exclude_none=True)
        with contextlib.suppress(OutOfMemoryError), self.connection.pipeline() as pipe:
            pipe.hset(job.key, "meta", self.serializer.dumps(job.meta))
            pipe.publish(contract.EVENTS, running.event(Status.RUNNING))
            pipe.execute()
        return True

    def _outcomes(self, works: Sequence[Work]) -> list[Outcome | Exception]:
        try:
            return list(self._do(works))
        except Exception as error:
            if len(works) == 1:
                return [error]
            log.warning("a batch of %d failed (%s); its jobs run one by one", len(works), error)
            return [self._outcomes([work])[0] for work in works]

    def _finish(self, batch: list[Running]) -> None:
        """End every job of the batch in one transaction: outcome, event, and RQ's registries as RQ would leave them.

        RQ's own ending takes five round trips a job, each waiting for the disk; and a worker that dies in the middle
        would leave jobs that are done in part.
        """
        for running, status in zip(batch, claim_end(self.connection, [one.job.key for one in batch]), strict=True):
            running.ours = status == b"started" and running.outcome is not None
            running.queued = status == b"queued"  # by the janitor: this worker was silent for too long
        try:
            self._write(batch)
        except OutOfMemoryError:
            # Without its input a job takes less; and the message of a failure takes next to nothing.
            self.connection.delete(*(input_key(running.job.id) for running in batch if not running.queued))
            for running in batch:
                self._write_in_full_memory(running)

    def _write_in_full_memory(self, running: Running) -> None:
        """End one job where there may be no room for its result, or, for a moment, for anything."""
        for wait_s in FULL_MEMORY_WAITS_S:
            try:
                return self._write([running])
            except OutOfMemoryError:
                running.outcome = TaskError("The memory for pictures is full: there was no room for the result.")
                time.sleep(wait_s)
        return self._write([running])

    def _write(self, batch: list[Running]) -> None:
        with self.connection.pipeline() as pipe:
            for running in batch:
                if not running.queued:
                    pipe.delete(input_key(running.job.id))
                    pipe.hdel(contract.CLAIMS, running.job.id)
                if running.ours:
                    self._end(running, pipe)
                self.cleanup_execution(running.job, pipeline=pipe, execution=running.execution)
            pipe.execute()

    def _end(self, running: Running, pipe: Pipeline) -> None:
        job, outcome = running.job, running.outcome
        job.ended_at = now()
        execution: dict[str, Any] = {
            "worker_name": self.name,
            "execution_id": running.execution.id,
            "execution_started_at": running.execution.created_at,
            "execution_ended_at": job.ended_at,
        }
        if isinstance(outcome, Exception):
            # Not tried again, as RQ would: only a worker's death is worth another try.
            running.meta.error = failure_of(outcome)
            job.set_status(JobStatus.FAILED, pipeline=pipe)
            job.save(pipeline=pipe, include_meta=False, include_result=False)
            trace = "".join(traceback.format_exception(outcome))
            job._handle_failure(trace, pipe, **execution)
            self.increment_failed_job_count(pipe)
            status = Status.FAILED
        else:
            self._keep(running, pipe)
            job._handle_success(self._record_ttl_s, pipe, **execution)
            self.increment_successful_job_count(pipe)
            status = Status.SUCCEEDED
        assert job.started_at is not None
        self.increment_total_working_time(job.ended_at - job.started_at, pipe)
        job.meta = running.meta.model_dump(exclude_none=True)
        pipe.hset(job.key, "meta", self.serializer.dumps(job.meta))
        job.cleanup(self._record_ttl_s, pipeline=pipe, remove_from_queue=False)
        pipe.publish(contract.EVENTS, running.event(status))

    def _keep(self, running: Running, pipe: Pipeline) -> None:
        """Put the outcome where the client's end finds it."""
        outcome = running.outcome
        if isinstance(outcome, np.ndarray):
            outcome = [outcome]
        if running.meta.kind == "style":
            running.meta.style = cast(list[float], outcome)
        elif outcome is not None:
            pictures = cast(list[Picture], outcome)
            pipe.set(output_key(running.job.id), pack(*pictures), ex=self._result_ttl_s)

    def _beat(self) -> None:
        """Renew the leases of the batch in hand, which RQ's SimpleWorker does not, and report this worker alive."""
        started = self._batch_started
        if started is not None and time.monotonic() - started > JOB_TIMEOUT_S:
            log.error("the batch has run for over %d s; ending this process", JOB_TIMEOUT_S)
            os._exit(70)  # it hangs in native code, where no exception can reach it
        with self.connection.pipeline(transaction=False) as pipe:
            super().heartbeat(pipeline=pipe)
            pipe.hset(contract.WORKERS, self.name, self._report().model_dump_json())
            pipe.execute()
        for running in list(self._running):
            self.maintain_heartbeats(running.job, running.execution)
        self._on_heartbeat()

    def _report(self) -> WorkerReport:
        return WorkerReport(
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            device=self._device,
            loaded=self._loaded(),
            seen_at=time.time(),
        )


def worker_name(pid: int) -> str:
    """The name under which a worker process on this host is known to RQ."""
    return f"doppel-{socket.gethostname()}-{pid}"
