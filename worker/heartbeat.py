"""What both kinds of worker have in common: they report themselves alive, from a thread."""

import logging
import threading
from abc import abstractmethod
from typing import Any, ClassVar

from rq import Queue
from rq.job import Job
from rq.worker import BaseWorker

from worker.connection import BLOCKED_S
from worker.contract import HEARTBEAT_S, LEASE_S

log = logging.getLogger("doppel.worker")


class ReportingWorker(BaseWorker):
    """Reports itself alive about every ``HEARTBEAT_S`` while it takes jobs, in a Redis hash under its name.

    It begins where RQ asks for the first job: from there on a signal ends the worker in good order, and who was told of
    it may send one.
    """

    reports: ClassVar[str]  # the hash
    log_result_lifespan = False
    max_connection_wait_time = 1.0  # seconds between tries to reach a lost Redis

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._heartbeats, daemon=True, name="heartbeats")

    @abstractmethod
    def _beat(self) -> None:
        """Report this worker alive."""

    @property
    def dequeue_timeout(self) -> int:
        return BLOCKED_S  # between which RQ looks after itself

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return LEASE_S

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        if self._heart.ident is None:
            self._heart.start()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def register_death(self) -> None:
        self._over.set()
        if self._heart.ident is not None:
            self._heart.join(timeout=5 * HEARTBEAT_S)  # or a last beat would report the dead alive
        super().register_death()  # type: ignore[no-untyped-call]
        self.connection.hdel(self.reports, self.name)

    def _heartbeats(self) -> None:
        while not self._over.is_set():
            try:
                self._beat()
            except Exception:
                log.warning("heartbeat failed", exc_info=True)
            self._over.wait(HEARTBEAT_S)
