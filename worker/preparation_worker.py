"""What the processes of a preparer have in common: stock RQ workers with short leases, that run allow-listed functions.

RQ forks a process for each job and watches it. No process of ours is needed below that.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from abc import abstractmethod
from typing import Any, ClassVar

import redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now

from models import logs
from models.installed import has_torch
from models.process import die_with_parent
from worker import contract
from worker.connection import LOST
from worker.contract import HEARTBEAT_S, Failure, JobEvent, Status
from worker.errors import JobCanceled, QueueError, TimedOut
from worker.heartbeat import ReportingWorker
from worker.inference_queue import forbid_cancel, job_meta
from worker.preparation_queue import PREPARER_SEEN_S, PreparationQueue, PreparerReport, rq_preparation_queue
from worker.tracing import tracer_of

HAND_BACK_PAUSE_S = 2  # how long a preparer without torch takes no job after it left one to others

log = logging.getLogger("doppel.preparer")


def preparer_name(pid: int) -> str:
    """The name under which a preparer's worker process on this host is known to RQ."""
    return f"doppel-preparer-{socket.gethostname()}-{pid}"


class PreparationWorker(ReportingWorker, Worker):
    """Runs allow-listed functions, with short leases, in forked processes that die with this one.

    Args:
        timeout_s: after which the process of a job is killed, and the job fails; None: never.
    """

    reports = contract.PREPARERS
    functions: ClassVar[tuple[str, ...]]
    queue_name: ClassVar[str]

    def __init__(self, connection: redis.Redis, *, timeout_s: int | None = None) -> None:
        self._timeout_s = timeout_s
        self._timed_out: str | None = None  # the job whose process was killed for that
        super().__init__(
            [rq_preparation_queue(connection, self.queue_name)],
            name=preparer_name(os.getpid()),
            connection=connection,
            serializer=JSONSerializer,
            job_monitoring_interval=HEARTBEAT_S,
            worker_ttl=60,
        )
        self._tracer = tracer_of("doppel-preparer")

    def teardown(self) -> None:
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        finally:
            self._tracer.close()

    def _beat(self) -> None:
        report = PreparerReport(
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            queue=self.queue_name,
            torch=has_torch(),
            seen_at=time.time(),
        )
        self.connection.hset(contract.PREPARERS, self.name, report.model_dump_json())

    def execute_job(self, job: Job, queue: Queue) -> None:
        if not has_torch() and _needs_torch(job) and self._others_have_torch():
            self._leave_to_others(job, queue)
        else:
            begun = time.time()
            super().execute_job(job, queue)
            self._trace(job, begun)

    def _trace(self, job: Job, begun: float) -> None:
        meta = job_meta(job)
        if meta.traceparent is not None and self._tracer.enabled:
            attributes = {"doppel.job.id": job.id, "doppel.kind": meta.kind}
            self._tracer.past("prepare", begun, time.time(), parent=meta.traceparent, attributes=attributes)

    def _others_have_torch(self) -> bool:
        reports = PreparationQueue(self.connection).preparers(seen_within_s=PREPARER_SEEN_S)
        return any(report.torch and report.queue == self.queue_name for report in reports)

    def _leave_to_others(self, job: Job, queue: Queue) -> None:
        """Put a job back at the end of its queue, from which a preparer with torch takes it once it has time."""
        with self.connection.pipeline() as pipe:
            pipe.lrem(queue.intermediate_queue_key, 1, job.id)
            pipe.rpush(queue.key, job.id)
            pipe.execute()
        time.sleep(HAND_BACK_PAUSE_S)  # while the others are busy this one would take the job again and again

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        super().fork_work_horse(job, queue)
        if self._stop_requested:  # before there was a process to kill
            self._kill_horse()

    def _kill_horse(self) -> None:
        # RQ's kill_horse kills a process group, which may still be this process's own.
        if self.horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGKILL)

    def handle_warm_shutdown_request(self) -> None:
        """Give the job in hand back to the queue rather than wait minutes for its end."""
        super().handle_warm_shutdown_request()
        self._kill_horse()

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: object) -> None:
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]
        if self._timed_out == job.id and self._timeout_s is not None:
            job.retries_left = 0  # it would take as long again
            self.note_failure(job, TimedOut(self._timeout_s))
        if self._stop_requested:  # by us, so it does not count as a try
            job.retries_left = (job.retries_left or 0) + 1

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        assert self.pid is not None
        die_with_parent(self.pid)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Renew the lease. The job goes on while Redis is away."""
        try:
            super().maintain_heartbeats(job, execution)
        except LOST:
            log.warning("the lease of job %s was not renewed: Redis is away", job.id)
        took_s = (now() - job.started_at).total_seconds() if job.started_at is not None else 0.0
        if self._timeout_s is not None and took_s > self._timeout_s and self._timed_out != job.id:
            self._timed_out = job.id
            self._kill_horse()

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        if job.get_status() is not JobStatus.QUEUED:  # canceled meanwhile, or done by another worker
            self._drop(job, queue, execution)
            return False
        # A job names a function: none but ours is ever called.
        if job.func_name not in self.functions:
            self.prepare_job_execution(job, remove_from_intermediate_queue=True)
            error = PermissionError(f"The function {job.func_name!r} is not one that this worker runs.")
            self._finalize_failure(job, queue, execution, (type(error), error, None))
            return False
        with logs.about([job_meta(job)]):
            return super().perform_job(job, queue, execution)

    def _drop(self, job: Job, queue: Queue, execution: Execution | None) -> None:
        """Forget that this worker had the job, and leave the job as it is."""
        with self.connection.pipeline() as pipe:
            pipe.lrem(queue.intermediate_queue_key, 1, job.id)
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.execute()

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Try a job again whose worker died or lost Redis; what the function itself raises ends the job."""
        error = exc_info[1]
        if isinstance(error, (*LOST, QueueError)):
            log.warning("job %s is given up, to be tried again: %s", job.id, error)
            return
        job.retries_left = 0
        self.note_failure(job, error)

    def note_failure(self, job: Job, error: Exception) -> None:
        """Note why a job fails."""
        log.error("job %s failed", job.id, exc_info=error)


class ClientJobWorker(PreparationWorker):
    """Runs jobs that clients see, listen to and cancel as they do those of the inference queue."""

    @abstractmethod
    def failure(self, job: Job, error: Exception) -> Failure:
        """Why the job failed, for its owner."""

    def note_failure(self, job: Job, error: Exception) -> None:
        if isinstance(error, JobCanceled):
            return
        meta = job_meta(job)
        meta.error = self.failure(job, error)
        job.meta = meta.model_dump(exclude_none=True)
        job.save_meta()  # type: ignore[no-untyped-call]

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: object = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """Let RQ try the job again or fail it, unless it was canceled, or lost to another worker by silence."""
        if forbid_cancel(self.connection, [job.key]) != [JobStatus.STARTED.value.encode()]:
            self._drop(job, queue, execution)
            return
        super().handle_job_failure(job, queue, exc_string=exc_string, execution=execution)
        if job.get_status(refresh=False) is JobStatus.FAILED:
            self._conclude(job, Status.FAILED)

    def handle_job_success(self, job: Job, *arguments: Any, **options: Any) -> None:
        super().handle_job_success(job, *arguments, **options)
        self._conclude(job, Status.SUCCEEDED)

    def _conclude(self, job: Job, status: Status) -> None:
        event = JobEvent(id=job.id, status=status, error=job_meta(job).error)
        with contextlib.suppress(*LOST):  # RQ has stored the end, which waiting clients look up now and then
            self.connection.publish(contract.EVENTS, event.model_dump_json())
        self.clean_up(job)

    def clean_up(self, job: Job) -> None:
        """Remove what was kept on disk for a job that has ended."""


def _needs_torch(job: Job) -> bool:
    if job.func_name == contract.ADD_MODEL:
        return bool(job.kwargs.get("torch"))
    return job.func_name in (contract.ESTIMATE, contract.FETCH_MODEL)
