"""The client's end of the preparer's queues: uploads to take in, weights to fetch, and training runs to size."""

import functools
import time
from typing import Any, cast

import redis
from pydantic import BaseModel, ValidationError
from redis.client import Pipeline
from rq import Queue, Retry
from rq.job import Job, JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer

from models import logs
from models.errors import Invalid, NotInstalled, Unavailable
from models.installed import without_torch
from models.store.additions import Addition
from worker import contract
from worker.allowances import Allowance
from worker.connection import BLOCKED_S
from worker.contract import JobMeta, Kind
from worker.inference_queue import new_job_id, translating_errors
from worker.job_records import CANCELABLE_FIELD, RECORD_TTL_S
from worker.malformed_records import LenientJob, is_credible
from worker.webhooks import Hook, HookOf, no_hook

PREPARER_SEEN_S = 30  # without a preparer; a restart takes less
ESTIMATE_TTL_S = 60  # how long the answer is kept, which its client reads at once

_UNDER_WAY = (JobStatus.QUEUED.value.encode(), JobStatus.STARTED.value.encode())


class ImportTask(BaseModel):
    """What an import is to make of an uploaded archive, and the limits under which the upload was accepted."""

    dataset: str  # its name
    max_total_bytes: int  # of the unpacked archive
    max_files: int
    max_file_bytes: int
    max_pixels: int  # of one picture
    owner: str | None = None  # the name of the API key that it was uploaded with
    reserved_bytes: int = 0  # as of ``Room``
    most_store_bytes: int | None = None


class AddTask(BaseModel):
    """What is to be made of an uploaded weights file or model, and the limit under which the upload was accepted."""

    label: str  # the file's name at its sender's, for messages
    addition: Addition
    max_bytes: int  # of the weights
    torch: bool  # whether it takes torch to read the file; not an exported model
    owner: str | None = None  # the name of the API key that it was uploaded with


class FetchTask(BaseModel):
    """Whose weights are to be downloaded."""

    model: str


class PreparerReport(BaseModel):
    """What one of a preparer's processes reports with each heartbeat."""

    name: str
    pid: int
    host: str
    queue: str  # the one it takes jobs from
    torch: bool = True  # whether it is installed there; uploaded data sets don't need it
    seen_at: float  # Unix time, seconds


def rq_preparation_queue(connection: redis.Redis, name: str) -> Queue:
    """The RQ queue ``PREPARATION_QUEUE``, ``FETCH_QUEUE`` or ``ESTIMATE_QUEUE``."""
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=-1, job_class=LenientJob)


def _meta(kind: Kind, model: str, dataset: str | None = None, owner: str | None = None) -> JobMeta:
    """What is stored with a job that the request in hand orders."""
    ordered = logs.request()
    return JobMeta(
        kind=kind,
        model=model,
        dataset=dataset,
        owner=owner,
        request_id=ordered.request_id,
        traceparent=ordered.traceparent,
    )


class PreparationQueue:
    """A blocking client; every method raises :class:`worker.errors.QueueUnreachable` when Redis stays away."""

    def __init__(self, connection: redis.Redis) -> None:
        self.connection = connection
        self._imports = rq_preparation_queue(connection, contract.PREPARATION_QUEUE)
        self._fetches = rq_preparation_queue(connection, contract.FETCH_QUEUE)
        self._estimates = rq_preparation_queue(connection, contract.ESTIMATE_QUEUE)

    def submit_import(
        self, job_id: str, task: ImportTask, allowance: Allowance | None = None, hook: Hook | None = None
    ) -> None:
        """Queue the import of the archive that lies in the incoming folder ``job_id``.

        Args:
            allowance: that it counts towards; None: none.
            hook: whom to tell how it ended.

        Raises:
            LimitReached: it would be more than the allowance.
        """
        meta = _meta("dataset", "", task.dataset, task.owner)
        self._submit(_job(self._imports, contract.IMPORT, job_id, task, meta), allowance, hook)

    def submit_addition(
        self, job_id: str, task: AddTask, allowance: Allowance | None = None, hook: Hook | None = None
    ) -> None:
        """Queue the addition of the model that lies in the incoming folder ``job_id``, as :meth:`submit_import`."""
        meta = _meta("model", task.addition.name or "", owner=task.owner)
        self._submit(_job(self._imports, contract.ADD_MODEL, job_id, task, meta), allowance, hook)

    def _submit(self, job: Job, allowance: Allowance | None, hook: Hook | None) -> None:
        with translating_errors(), self.connection.pipeline() as pipe:
            if allowance is not None:
                allowance.take(self.connection, [job.id])
            _enqueue(self._imports, job, pipe)
            _order(hook, pipe)
            pipe.execute()

    def fetch(self, model: str, hook_of: HookOf = no_hook) -> str:
        """Have a model's weights downloaded; the id of the job, which may be under way already.

        Args:
            hook_of: whom to tell how the job of this id ended.
        """
        begin = functools.partial(self._fetch, model, hook_of)
        with translating_errors():
            found = self.connection.transaction(begin, contract.FETCHES, value_from_callable=True)  # type: ignore[arg-type]
        return cast(str, found)

    def _fetch(self, model: str, hook_of: HookOf, pipe: Pipeline) -> str:
        """Write what :meth:`fetch` does. redis-py calls this again if somebody else begins a fetch meanwhile."""
        known = cast(bytes | None, pipe.hget(contract.FETCHES, model))
        if known is not None and pipe.hget(Job.key_for(known.decode(errors="replace")), "status") in _UNDER_WAY:
            job_id = known.decode(errors="replace")
            pipe.multi()
        else:
            meta = _meta("fetch", model)
            job = _job(self._fetches, contract.FETCH_MODEL, new_job_id(), FetchTask(model=model), meta)
            job_id = job.id
            _enqueue(self._fetches, job, pipe)
            pipe.hset(contract.FETCHES, model, job_id)
        _order(hook_of(job_id), pipe)
        return job_id

    def fetches(self) -> dict[str, str]:
        """The models whose weights are being fetched, or are about to be, and for each the job's id."""
        with translating_errors():
            newest = cast(dict[bytes, bytes], self.connection.hgetall(contract.FETCHES))
            with self.connection.pipeline(transaction=False) as pipe:
                for job_id in newest.values():
                    pipe.hget(Job.key_for(job_id.decode(errors="replace")), "status")
                statuses = pipe.execute()
        found = zip(newest.items(), statuses, strict=True)
        return {
            model.decode(errors="replace"): job_id.decode(errors="replace")
            for (model, job_id), status in found
            if status in _UNDER_WAY
        }

    def estimate(self, requests: list[dict[str, Any]], *, timeout_s: float) -> list[dict[str, Any]]:
        """Have training runs sized on the real networks, and wait for the answer.

        Imports don't delay it: estimates have a queue and a process of their own.

        Args:
            requests: what ``models.training.estimate.estimate`` takes, as JSON.

        Returns:
            An estimate for each request, in their order, as JSON.

        Raises:
            Invalid: networks with these options can't be built.
            Unavailable: no preparer is alive, or none answered within ``timeout_s``.
            NotInstalled: the preparers lack torch, or another package that these options need.
        """
        self.require_preparer(contract.ESTIMATE_QUEUE, torch_for="Training")
        deadline = time.monotonic() + timeout_s
        with translating_errors():
            job = self._estimates.enqueue(
                contract.ESTIMATE,
                kwargs={"requests": requests},
                job_timeout=max(1, round(timeout_s)),
                ttl=max(1, round(timeout_s)),
                result_ttl=ESTIMATE_TTL_S,
                failure_ttl=ESTIMATE_TTL_S,
                retry=Retry(max=contract.MAX_TRIES - 1),
                description=f"{len(requests)} estimates",
            )
            result = None
            while result is None and time.monotonic() < deadline:
                result = job.latest_result(timeout=BLOCKED_S)
        if result is None or result.type is not Result.Type.SUCCESSFUL:
            raise Unavailable("The size of the run could not be estimated in time. Try again shortly.")
        answer = cast(dict[str, Any], result.return_value)
        if "refused" in answer:
            raise Invalid(answer["refused"])
        if "not_installed" in answer:
            raise NotInstalled(answer["not_installed"])
        estimates: list[dict[str, Any]] = answer["estimates"]
        return estimates

    def require_preparer(self, queue: str = contract.PREPARATION_QUEUE, *, torch_for: str | None = None) -> None:
        """Refuse to queue what nobody would do.

        Args:
            torch_for: what needs a preparer with torch, as the beginning of a sentence.

        Raises:
            Unavailable: no preparer that serves ``queue`` reported itself for ``PREPARER_SEEN_S``.
            NotInstalled: those that did have no torch.
        """
        reports = [report for report in self.preparers(seen_within_s=PREPARER_SEEN_S) if report.queue == queue]
        if not reports:
            raise Unavailable(
                f"No preparer was heard of for {PREPARER_SEEN_S} s. The operator starts one with: doppel preparer"
            )
        if torch_for is not None and not any(report.torch for report in reports):
            raise without_torch(torch_for)

    def preparers(self, *, seen_within_s: float) -> list[PreparerReport]:
        """The preparers' processes that reported themselves within ``seen_within_s``."""
        with translating_errors():
            reports = self.connection.hvals(contract.PREPARERS)
        oldest = time.time() - seen_within_s
        return [
            report
            for report in map(_report, reports)
            if report is not None and report.seen_at >= oldest and is_credible(report.seen_at)
        ]


def _report(data: bytes | str) -> PreparerReport | None:
    try:
        return PreparerReport.model_validate_json(data)
    except ValidationError:
        return None  # of a preparer of another version


def _job(queue: Queue, function: str, job_id: str, task: ImportTask | AddTask | FetchTask, meta: JobMeta) -> Job:
    """A job that a client can see, not queued yet."""
    return queue.create_job(
        function,
        kwargs=task.model_dump(),
        job_id=job_id,
        meta=meta.model_dump(exclude_none=True),
        timeout=-1,
        result_ttl=RECORD_TTL_S,
        failure_ttl=RECORD_TTL_S,
        retry=Retry(max=contract.MAX_TRIES - 1),  # of a preparer that died
        description=meta.dataset or meta.model,
    )


def _enqueue(queue: Queue, job: Job, pipe: Pipeline) -> None:
    """Write onto a pipeline that ``job`` waits in ``queue``. RQ begins the transaction, so this comes first."""
    queue.enqueue_job(job, pipeline=pipe)
    pipe.hset(job.key, CANCELABLE_FIELD, 1)


def _order(hook: Hook | None, pipe: Pipeline) -> None:
    """Write onto a pipeline that has begun its transaction that ``hook`` waits; None does nothing."""
    for command in hook.ordered() if hook is not None else ():
        pipe.execute_command(*command)  # type: ignore[no-untyped-call]
