"""A base class for RQ workers that report themselves from a thread, and renew the leases of their jobs."""

import logging
import threading
import time
from abc import abstractmethod
from typing import Any, ClassVar

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from rq import Queue
from rq.job import Job
from rq.worker import BaseWorker

from worker.connection import BLOCKED_S
from worker.contract import HEARTBEAT_S, LEASE_S
from worker.malformed_records import LenientJob, refuse_unreadable

FULL_WAIT_S = 1.0

log = logging.getLogger("doppel.worker")


class ReportingWorker(BaseWorker):
    """Writes a report about every ``HEARTBEAT_S`` to a Redis hash, under its name.

    The first report is written when RQ asks for the first job. From then on the worker ends in good order on a signal,
    which whoever reads the report may send.
    """

    reports: ClassVar[str]  # key of the hash
    log_result_lifespan = False
    max_connection_wait_time = 1.0  # seconds between tries to reach a lost Redis

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"job_class": LenientJob, **options})
        self._ended = threading.Event()
        self._heartbeats = threading.Thread(target=self._run_heartbeats, daemon=True, name="heartbeats")

    @abstractmethod
    def _beat(self) -> None:
        """Write this worker's report. Called from the heartbeat thread."""

    def renew_leases(self) -> None:
        """Renew the leases of the jobs in hand, which RQ's SimpleWorker does not do."""
        for execution in list(self.executions.values()):
            self.maintain_heartbeats(execution.job, execution)

    def procline(self, message: str) -> None:
        """Do nothing: lists of processes go on showing the role's command line."""

    @property
    def dequeue_timeout(self) -> int:
        return BLOCKED_S

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return LEASE_S

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        if self._heartbeats.ident is None:
            self._heartbeats.start()
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except (UnicodeDecodeError, ResponseError):  # what was taken is no job
                if not sum(map(refuse_unreadable, self.queues)):
                    raise

    def handle_warm_shutdown_request(self) -> None:
        """Have no further job taken. RQ raises an exception here, which may hit code that catches it."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._stop_requested = True

    def register_birth(self) -> None:
        """Make this worker known, once Redis has room for that: results expire, and other workers take jobs."""
        waits = False
        while True:
            try:
                super().register_birth()  # type: ignore[no-untyped-call]
                return
            except OutOfMemoryError as error:
                if not waits:
                    log.warning("Redis is full; this worker waits until there is room: %s", error)
                waits = True
                time.sleep(FULL_WAIT_S)

    def stop_heartbeats(self) -> None:
        """End the thread, or a last heartbeat would report a dead worker alive."""
        self._ended.set()
        if self._heartbeats.ident is not None:
            self._heartbeats.join(timeout=5 * HEARTBEAT_S)

    def register_death(self) -> None:
        self.stop_heartbeats()
        super().register_death()  # type: ignore[no-untyped-call]
        self.connection.hdel(self.reports, self.name)

    def _run_heartbeats(self) -> None:
        while not self._ended.is_set():
            try:
                self._beat()
            except RedisError as error:  # it is away or full, and may be back at the next heartbeat
                log.warning("heartbeat failed: %s", error)
            except Exception:  # the next heartbeat must come whatever this was
                log.exception("heartbeat failed")
            self._ended.wait(HEARTBEAT_S)
