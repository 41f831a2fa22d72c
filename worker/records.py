"""Jobs that are not done by a worker of the queue, but can be asked for, listened to and canceled like those."""

import redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from worker import contract
from worker.contract import Failure, JobEvent, JobMeta, Kind, Status
from worker.inference_queue import CANCELABLE_FIELD, RECORD_TTL_S, claim_end, new_job_id, rq_queue, translating_errors


class Record:
    """One such job, as its keeper sees it."""

    def __init__(self, connection: redis.Redis, *, kind: Kind, dataset: str) -> None:
        """Begin: the job is running from now on."""
        self.id = new_job_id()
        self._connection = connection
        self._meta = JobMeta(kind=kind, model="", dataset=dataset)
        with translating_errors():
            job = Job.create(
                contract.RECORD,
                id=self.id,
                connection=connection,
                serializer=JSONSerializer,
                origin=rq_queue(connection).name,
                status=JobStatus.STARTED,
                meta=self._meta.model_dump(exclude_none=True),
            )
            job.started_at = now()
            job.save()
            connection.hset(job.key, CANCELABLE_FIELD, 1)
            self._job = job
            self.progress(0.0)

    def progress(self, share: float) -> bool:
        """Tell how far it is, 0 to 1, and that its keeper lives; False if it was canceled meanwhile."""
        with translating_errors():
            if self._connection.hget(self._job.key, "status") != JobStatus.STARTED.value.encode():
                return False
            self._meta.done = round(share, 3)
            self._save(Status.RUNNING)
            return True

    def commit(self) -> bool:
        """Have it canceled no more, since it is about to end; False if it was canceled meanwhile."""
        with translating_errors():
            self._meta.final = self._claim_end()
            if self._meta.final:
                self._connection.hset(self._job.key, "meta", self._packed_meta())
        return self._meta.final

    def _claim_end(self) -> bool:
        return claim_end(self._connection, [self._job.key]) == [JobStatus.STARTED.value.encode()]

    def succeeded(self) -> None:
        self._end(JobStatus.FINISHED, Status.SUCCEEDED)

    def failed(self, error: Failure) -> None:
        self._meta.error = error
        self._end(JobStatus.FAILED, Status.FAILED)

    def _end(self, rq_status: JobStatus, status: Status) -> None:
        with translating_errors():
            if not self._claim_end():
                return
            self._job.ended_at = now()
            self._job.set_status(rq_status)
            self._job.save(include_meta=False, include_result=False)
            self._save(status)

    def _packed_meta(self) -> bytes:
        packed: bytes = self._job.serializer.dumps(self._meta.model_dump(exclude_none=True))
        return packed

    def _save(self, status: Status) -> None:
        event = JobEvent(id=self.id, status=status, error=self._meta.error)
        with self._connection.pipeline() as pipe:
            pipe.hset(self._job.key, mapping={"meta": self._packed_meta(), "last_heartbeat": utcformat(now())})
            pipe.expire(self._job.key, RECORD_TTL_S)
            pipe.publish(contract.EVENTS, event.model_dump_json())
            pipe.execute()
