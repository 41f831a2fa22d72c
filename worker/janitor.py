"""RQ's own maintenance, but in time: what a dead worker held is queued again within seconds.

Recovery must not depend on the remaining workers, which may be busy, so this runs in the API processes. A lock lets one
of them do it at a time.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import redis
from pydantic import ValidationError
from redis.lock import Lock
from rq import Queue, SimpleWorker
from rq.job import Job, JobStatus
from rq.registry import clean_registries
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker_registration import clean_worker_registry

from worker import contract
from worker.contract import JobEvent, Status, WorkerReport
from worker.fair_order import TURN_FIELD
from worker.inference_queue import WORKER_DIED, fetch_jobs, job_meta, rq_queue
from worker.job_records import RECORD_TTL_S
from worker.malformed_records import RETURNS_FIELD, is_credible, refuse, refuse_unreadable, why_unreadable
from worker.picture_bytes import input_key
from worker.preparation_queue import PreparerReport, rq_preparation_queue
from worker.training_queue import TrainerReport, rq_training_queue

LOCK_S = 5  # far longer than a sweep takes
INTERMEDIATE_GRACE_S = 5  # how long a job may be between its queue and its worker
FORGET_WORKER_S = 120

REPORTS: dict[str, type[WorkerReport | TrainerReport | PreparerReport]] = {
    contract.WORKERS: WorkerReport,
    contract.TRAINERS: TrainerReport,
    contract.PREPARERS: PreparerReport,
}

log = logging.getLogger("doppel.worker")


class Janitor:
    """Sweeps the registries of all queues."""

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self._training = rq_training_queue(connection)
        self._job_queues = [rq_queue(connection, name) for name in contract.JOB_QUEUES]
        self._on_abandoned: dict[Queue, Callable[..., None]] = {
            **dict.fromkeys(self._job_queues, self._on_abandoned_job),
            rq_preparation_queue(connection, contract.ESTIMATE_QUEUE): self._on_abandoned_estimate,
            self._training: self._on_abandoned_run,
        }
        self._seen: dict[str, dict[str, float]] = {}  # queue → job in its intermediate list → when first seen there

    def run(self, stop: threading.Event) -> None:
        """Sweep every ``SWEEP_S`` until ``stop``, while no other janitor does."""
        while not stop.wait(contract.SWEEP_S):
            try:
                self.sweep()
            except redis.RedisError as error:
                log.warning("the queue was not swept: %s", error)
            except Exception:  # the next sweep must come whatever this was
                log.exception("the queue was not swept")

    def sweep(self) -> None:
        """Requeue or fail what expired leases left behind, and forget what is long over; not while another does."""
        lock = self._lock()
        if lock.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                lock.release()

    def _lock(self, patience_s: float | None = None) -> Lock:
        return Lock(self.connection, contract.JANITOR_LOCK, timeout=LOCK_S, blocking_timeout=patience_s)

    def _sweep(self) -> None:
        self._end_leases()
        for queue in self._on_abandoned:
            clean_worker_registry(queue)
            self._sweep_intermediate(queue)
        self._forget()

    def _end_leases(self) -> None:
        """Queue again, or fail, the jobs whose leases ran out."""
        for queue, on_abandoned in self._on_abandoned.items():
            try:
                clean_registries(queue, [on_abandoned])
            except (UnicodeDecodeError, redis.ResponseError):
                if not self._refuse_unreadable_started(queue):
                    raise

    def _refuse_unreadable_started(self, queue: Queue) -> int:
        """Put aside what is marked as running and can't be a job of any kind; how many that were."""
        refused = 0
        for both in cast(list[bytes], self.connection.zrange(queue.started_job_registry.key, 0, -1)):
            raw_id = both.rpartition(b":")[0]
            if why := why_unreadable(self.connection, raw_id):
                refuse(queue, raw_id, why, running=both)
                refused += 1
        return refused

    def recover(self, worker_name: str, *, patience_s: float | None = None) -> int:
        """End the leases of a worker that is known to be dead at once, instead of when they run out.

        Args:
            patience_s: how long to wait for another janitor; None: until it is done, ``LOCK_S`` at most.

        Returns:
            The number of jobs that it held.

        Raises:
            LockError: another janitor was not done by then. (redis-py's.)
        """
        key = SimpleWorker.redis_worker_namespace_prefix + worker_name
        worker = SimpleWorker.find_by_key(key, connection=self.connection, serializer=JSONSerializer)
        if worker is None:
            return 0
        executions = worker.get_current_executions()
        with self._lock(
            patience_s
        ):  # RQ drops every expired lease at the end of a sweep, also one that expires during it
            for execution in executions:
                for queue in self._on_abandoned:
                    self.connection.zadd(queue.started_job_registry.key, {execution.composite_key: 1}, xx=True)
                self.connection.delete(execution.key)
            self._end_leases()
        worker.register_death()  # type: ignore[no-untyped-call]
        for reports in REPORTS:
            self.connection.hdel(reports, worker_name)
        return len(executions)

    @staticmethod
    def _on_abandoned_run(job: Job, *exc_info: Any) -> None:
        """Log that RQ found a run whose trainer died. RQ queues it again, or its folder says how it ended."""
        log.warning("the trainer of %s died%s", job.id, "; it is queued again" if job.retries_left else "")

    @staticmethod
    def _on_abandoned_estimate(job: Job, *exc_info: Any) -> None:
        """Log that RQ found an estimate whose worker died. RQ queues it again or fails it."""
        log.warning("the worker of estimate %s died", job.id)

    def _on_abandoned_job(self, job: Job, *exc_info: Any) -> None:
        """Note why a job fails whose worker died for the last time. RQ fails it, or queues it again before that."""
        if job.retries_left:
            log.warning("the worker of job %s died; it is queued again, to run alone", job.id)
            return
        log.error("the worker of job %s died %d times; it fails", job.id, contract.MAX_TRIES)
        meta = job_meta(job)
        meta.error = WORKER_DIED
        job.meta = meta.model_dump(exclude_none=True)
        job.ended_at = now()  # RQ saves the job after this
        job.save_meta()  # type: ignore[no-untyped-call]
        event = JobEvent(id=job.id, status=Status.FAILED, timings=meta.timings, error=WORKER_DIED)
        self.connection.delete(input_key(job.id))
        self.connection.publish(contract.EVENTS, event.model_dump_json())

    def _sweep_intermediate(self, queue: Queue) -> None:
        """Put back a job whose worker took it and died before starting it. This counts apart from its tries."""
        refuse_unreadable(queue)
        waiting = set(queue.intermediate_queue.get_job_ids())
        seen = self._seen[queue.name] = {
            job_id: self._seen.get(queue.name, {}).get(job_id, time.monotonic()) for job_id in waiting
        }
        for job_id, first_seen in seen.items():
            if time.monotonic() - first_seen > INTERMEDIATE_GRACE_S:
                self._put_back(queue, job_id)

    def _put_back(self, queue: Queue, job_id: str) -> None:
        key, exists = Job.key_for(job_id), Job.exists(job_id, self.connection)
        if exists and self.connection.hincrby(key, RETURNS_FIELD, 1) > contract.MAX_TRIES:
            refuse(queue, job_id.encode(), f"it was taken {contract.MAX_TRIES + 1} times, and never started")
            return
        with self.connection.pipeline() as pipe:
            pipe.lrem(queue.intermediate_queue_key, 1, job_id)
            if exists:
                log.warning("job %s was taken but never started; it is queued again", job_id)
                pipe.hdel(key, TURN_FIELD)  # the list is in the order of the turns
                pipe.lpush(queue.key, job_id)
            pipe.execute()

    def _forget(self) -> None:
        """Forget canceled jobs that expired (RQ keeps their ids for ever), claims of ended jobs, and dead workers."""
        for queue in self._job_queues:
            self.connection.zremrangebyscore(queue.canceled_job_registry.key, 0, time.time() - RECORD_TTL_S)
        claimants = [
            job_id.decode(errors="replace") for job_id in cast(list[bytes], self.connection.hkeys(contract.CLAIMS))
        ]
        for job_id, job in zip(claimants, fetch_jobs(self.connection, claimants), strict=True):
            if job is None or job.get_status(refresh=False) not in (JobStatus.QUEUED, JobStatus.STARTED):
                self.connection.hdel(contract.CLAIMS, job_id)
        for reports, kind in REPORTS.items():
            for name, report in self.connection.hgetall(reports).items():
                try:
                    seen_at = kind.model_validate_json(report).seen_at
                except ValidationError:
                    seen_at = 0.0  # of another version; if it is alive, it will report again
                if seen_at < time.time() - FORGET_WORKER_S or not is_credible(seen_at):
                    self.connection.hdel(reports, name)
