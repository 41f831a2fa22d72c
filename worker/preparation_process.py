"""The process ``doppel preparer``: takes in uploaded data sets and models, and sizes training runs.

Each of the two tasks has a queue and a stock RQ worker of its own, in a process of its own, so that an estimate, which
a client waits for, need not wait for an upload, which may take minutes. RQ forks a process for each job and watches it;
the fork of an upload loads Pillow, or for a model torch. No process of ours is needed below that: the fork sets its own
memory limit.
"""

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from models.errors import ArchiveError, DatasetError, DatasetExists, DoppelError, Invalid, NameTaken
from models.installed import has_torch
from models.process import die_with_parent, quick_imports
from models.store.catalog import Catalog
from models.store.incoming import IncomingStore
from worker import contract
from worker.connection import LOST, connect
from worker.contract import HEARTBEAT_S, Failure, FailureCode, JobEvent, Status
from worker.errors import JobCanceled, QueueError
from worker.fetching import Fetcher
from worker.heartbeat import ReportingWorker
from worker.import_progress import data_dir, weights_dir, weights_url
from worker.inference_queue import fetch_jobs, forbid_cancel, job_meta
from worker.janitor import Janitor
from worker.preparation_queue import PREPARER_SEEN_S, PreparationQueue, PreparerReport, rq_preparation_queue

HAND_BACK_PAUSE_S = 2  # how long a preparer without torch takes no job after it left one to others
PATIENCE_S = 30  # with a lost Redis, before the job in hand is given up and tried again

log = logging.getLogger("doppel.preparer")


class PreparationWorker(ReportingWorker, Worker):
    """Runs allow-listed functions, with short leases, in forked processes that die with this one."""

    reports = contract.PREPARERS
    functions: ClassVar[tuple[str, ...]]
    queue_name: ClassVar[str]

    def __init__(self, connection: redis.Redis) -> None:
        super().__init__(
            [rq_preparation_queue(connection, self.queue_name)],
            name=preparer_name(os.getpid()),
            connection=connection,
            serializer=JSONSerializer,
            job_monitoring_interval=HEARTBEAT_S,
            worker_ttl=60,
        )

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
            super().execute_job(job, queue)

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
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._kill_horse()

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: object) -> None:
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]
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


def _needs_torch(job: Job) -> bool:
    if job.func_name == contract.ADD_MODEL:
        return bool(job.kwargs.get("torch"))
    return job.func_name in (contract.ESTIMATE, contract.FETCH_MODEL)


class EstimateWorker(PreparationWorker):
    """Sizes training runs."""

    functions = (contract.ESTIMATE,)
    queue_name = contract.ESTIMATE_QUEUE


class ImportWorker(PreparationWorker):
    """Takes uploads in: jobs that clients see, listen to and cancel as they do those of the inference queue."""

    functions = (contract.IMPORT, contract.ADD_MODEL, contract.FETCH_MODEL)
    queue_name = contract.PREPARATION_QUEUE

    def __init__(
        self,
        connection: redis.Redis,
        weights_dir: Path,
        data_dir: Path,
        fetcher: Fetcher | None,
        weights_url: str | None = None,
    ) -> None:
        super().__init__(connection)
        self._weights_url = weights_url
        self._fetcher = fetcher
        self._weights_dir = weights_dir
        self._data_dir = data_dir
        self._incoming = IncomingStore(data_dir)

    def _beat(self) -> None:
        super()._beat()
        self._sweep()
        if self._fetcher is not None:
            self._fetcher.fetch_wanted()

    def _sweep(self) -> None:
        """Remove uploads whose job has ended, or that no job will ever ask for."""
        job_ids = self._incoming.job_ids()
        if not job_ids:
            return
        for job_id, job in zip(job_ids, fetch_jobs(self.connection, job_ids), strict=True):
            if job is None:
                unused = self._incoming.is_abandoned(job_id)
            else:
                unused = job.get_status(refresh=False) not in (JobStatus.QUEUED, JobStatus.STARTED)
            if unused:
                self._incoming.remove(job_id)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        data_dir.set(self._data_dir)
        weights_dir.set(self._weights_dir)
        weights_url.set(self._weights_url)
        return super().perform_job(job, queue, execution)

    def note_failure(self, job: Job, error: Exception) -> None:
        if isinstance(error, JobCanceled):
            return
        meta = job_meta(job)
        meta.error = _failure(job, error)
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
        self._incoming.remove(job.id)


def _failure(job: Job, error: Exception) -> Failure:
    """Why an import failed, for its owner; what its owner can't mend is logged."""
    if isinstance(error, DatasetExists | NameTaken):
        return Failure(code=FailureCode.NAME_TAKEN, detail=str(error))
    if job.func_name == contract.ADD_MODEL and isinstance(error, Invalid):
        return Failure(code=FailureCode.MODEL_REFUSED, detail=str(error))
    if job.func_name == contract.FETCH_MODEL and isinstance(error, DoppelError):
        return Failure(code=FailureCode.FETCH_FAILED, detail=f"{str(error).rstrip('.')}.")
    if isinstance(error, ArchiveError | DatasetError):
        return Failure(code=FailureCode.ARCHIVE_REFUSED, detail=str(error))
    if isinstance(error, DoppelError):
        return Failure(code=FailureCode.IMPORT_FAILED, detail=str(error))
    log.error("the import %s failed", job.id, exc_info=error)
    what, code = "upload", FailureCode.IMPORT_FAILED
    if job.func_name == contract.FETCH_MODEL:
        what, code = "download", FailureCode.FETCH_FAILED
    why = f"stored: {error.strerror}" if isinstance(error, OSError) else f"read: {type(error).__name__}"
    return Failure(code=code, detail=f"The {what} could not be {why}.")


def run_import_worker(
    *, redis_url: str, weights_dir: Path, data_dir: Path, weights_url: str | None, offline: bool
) -> None:
    """Take uploads in, and fetch what workers without torch leave to it, until SIGTERM or SIGINT.

    The parameters are the settings of the same names.
    """
    connection = _connect(redis_url)
    catalog = Catalog(weights_dir.resolve(), data_dir.resolve())
    fetches = has_torch() and not offline
    fetcher = Fetcher(connection, catalog, weights_url, wanted=contract.WANTED_OF_PREPARERS) if fetches else None
    importer = ImportWorker(connection, weights_dir.resolve(), data_dir.resolve(), fetcher, weights_url)
    importer.work(logging_level="WARNING")


def run_estimate_worker(*, redis_url: str) -> None:
    """Size training runs until SIGTERM or SIGINT."""
    # Loading torch takes longer than an estimate, so the forks inherit it. Elsewhere than on Linux, a process that has
    # loaded torch can't safely be forked.
    if sys.platform == "linux" and has_torch():
        with quick_imports():
            importlib.import_module(contract.ESTIMATE.rpartition(".")[0])
    EstimateWorker(_connect(redis_url)).work(logging_level="WARNING")


def _connect(redis_url: str) -> redis.Redis:
    connection = connect(redis_url, patience_s=PATIENCE_S)
    # In a container that is started again host and process number are those of the worker that died.
    Janitor(connection).recover(preparer_name(os.getpid()))
    return connection


def preparer_name(pid: int) -> str:
    """The name under which a preparer's worker process on this host is known to RQ."""
    return f"doppel-preparer-{socket.gethostname()}-{pid}"
