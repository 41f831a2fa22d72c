"""The process ``doppel preparer``: takes in uploaded data sets and models, fetches weights, and sizes training runs.

Each of the three tasks has a queue and an RQ worker of its own, in a process of its own: an estimate, which a client
waits for, need not wait for an upload, which may take minutes, nor an upload for a download. The fork of an upload
loads Pillow, or for a model torch, and sets its own memory limit.
"""

import importlib
import logging
import os
import sys
from pathlib import Path

import redis
from rq.job import Job, JobStatus

from models.errors import ArchiveError, DatasetError, DatasetExists, DoppelError, Invalid, NameTaken
from models.installed import has_torch
from models.process import quick_imports
from models.store.files import is_full
from models.store.incoming import IncomingStore
from worker import contract
from worker.connection import connect
from worker.contract import Failure, FailureCode
from worker.errors import TimedOut
from worker.import_progress import Place, place
from worker.inference_queue import fetch_jobs
from worker.janitor import Janitor
from worker.preparation_worker import ClientJobWorker, PreparationWorker, preparer_name

PATIENCE_S = 30  # with a lost Redis, before the job in hand is given up and tried again

log = logging.getLogger("doppel.preparer")


class EstimateWorker(PreparationWorker):
    """Sizes training runs."""

    functions = (contract.ESTIMATE,)
    queue_name = contract.ESTIMATE_QUEUE


class ImportWorker(ClientJobWorker):
    """Takes uploads in, and removes those of which nothing will become."""

    functions = (contract.IMPORT, contract.ADD_MODEL)
    queue_name = contract.PREPARATION_QUEUE

    def __init__(self, connection: redis.Redis, data_dir: Path, timeout_s: int | None = None) -> None:
        super().__init__(connection, timeout_s=timeout_s)
        self._incoming = IncomingStore(data_dir)

    def _beat(self) -> None:
        super()._beat()
        self._sweep()

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

    def clean_up(self, job: Job) -> None:
        self._incoming.remove(job.id)

    def failure(self, job: Job, error: Exception) -> Failure:
        if isinstance(error, DatasetExists | NameTaken):
            return Failure(code=FailureCode.NAME_TAKEN, detail=str(error))
        if job.func_name == contract.ADD_MODEL and isinstance(error, Invalid):
            return Failure(code=FailureCode.MODEL_REFUSED, detail=str(error))
        if isinstance(error, TimedOut):
            return Failure(code=error.code, detail=str(error))
        if isinstance(error, ArchiveError | DatasetError):
            return Failure(code=FailureCode.ARCHIVE_REFUSED, detail=str(error))
        if isinstance(error, DoppelError):
            return Failure(code=FailureCode.IMPORT_FAILED, detail=str(error))
        return Failure(code=FailureCode.IMPORT_FAILED, detail=_unexpected(job, error, "upload"))


class FetchWorker(ClientJobWorker):
    """Downloads weights, one model at a time."""

    functions = (contract.FETCH_MODEL,)
    queue_name = contract.FETCH_QUEUE

    def failure(self, job: Job, error: Exception) -> Failure:
        if isinstance(error, DoppelError):
            return Failure(code=FailureCode.FETCH_FAILED, detail=f"{str(error).rstrip('.')}.")
        return Failure(code=FailureCode.FETCH_FAILED, detail=_unexpected(job, error, "download"))


def _unexpected(job: Job, error: Exception, what: str) -> str:
    """Log an error that the job's owner can't fix, and return what to tell the owner.

    Args:
        what: could not be taken in.
    """
    if isinstance(error, OSError) and is_full(error):
        log.error("the %s of job %s could not be stored: %s", what, job.id, error)
        return f"The {what} could not be stored: the server's disk is full. Its operator must free some space first."
    log.error("the %s of job %s failed", what, job.id, exc_info=error)
    why = f"stored: {error.strerror}" if isinstance(error, OSError) else f"read: {type(error).__name__}"
    return f"The {what} could not be {why}."


def run_import_worker(*, redis_url: str, weights_dir: Path, data_dir: Path, timeout_s: int) -> None:
    """Take uploads in until SIGTERM or SIGINT. The parameters are the settings of the same names.

    Args:
        timeout_s: the setting ``import_timeout_s``.
    """
    place.set(Place(weights_dir=weights_dir.resolve(), data_dir=data_dir.resolve()))
    ImportWorker(_connect(redis_url), data_dir.resolve(), timeout_s).work(logging_level="WARNING")


def run_fetch_worker(
    *, redis_url: str, weights_dir: Path, data_dir: Path, weights_url: str | None, offline: bool
) -> None:
    """Fetch weights until SIGTERM or SIGINT. The parameters are the settings of the same names."""
    here = {"weights_dir": weights_dir.resolve(), "data_dir": data_dir.resolve()}
    place.set(Place(**here, weights_url=weights_url, offline=offline))
    FetchWorker(_connect(redis_url)).work(logging_level="WARNING")


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
