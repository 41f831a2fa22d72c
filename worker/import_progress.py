"""What the process of a preparer's job knows: where to work, and the job's record in Redis, to report to."""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from rq.job import Job, JobStatus

from worker import contract
from worker.contract import JobEvent, Status
from worker.errors import JobCanceled
from worker.inference_queue import forbid_cancel, job_meta
from worker.job_records import CANCELABLE_FIELD

REPORT_EVERY_S = 0.2


@dataclass(frozen=True)
class Place:
    """The settings of the same names. The process that forks a job's sets them: a job can't name a folder."""

    weights_dir: Path
    data_dir: Path
    weights_url: str | None = None
    offline: bool = False


place: ContextVar[Place] = ContextVar("place")


class ImportProgress:
    """Reports how far a job is, and lets it be canceled until it is about to end."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._meta = job_meta(job)
        self._meta.final = False
        self._reported_at = 0.0
        job.connection.hset(job.key, CANCELABLE_FIELD, 1)  # a try that died may have removed it

    def report(self, share: float) -> None:
        """Store and publish how much is done, 0 to 1, at most every ``REPORT_EVERY_S``.

        Raises:
            JobCanceled
        """
        if time.monotonic() - self._reported_at < REPORT_EVERY_S:
            return
        if self._job.get_status() is JobStatus.CANCELED:
            raise JobCanceled
        self._meta.done = round(share, 3)
        self._save()
        event = JobEvent(id=self._job.id, status=Status.RUNNING)
        self._job.connection.publish(contract.EVENTS, event.model_dump_json())
        self._reported_at = time.monotonic()

    def forbid_cancel(self) -> None:
        """Mark the job as no longer cancelable.

        Raises:
            JobCanceled: a client was faster.
        """
        if forbid_cancel(self._job.connection, [self._job.key]) != [JobStatus.STARTED.value.encode()]:
            raise JobCanceled
        self._meta.final = True
        self._save()

    def _save(self) -> None:
        self._job.meta = self._meta.model_dump(exclude_none=True)
        self._job.save_meta()  # type: ignore[no-untyped-call]
