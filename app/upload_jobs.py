"""Uploads that a preparer takes in: the job, and how it ended if that was waited for."""

from collections.abc import Callable

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from app.callers import caller_of
from app.deps import Services, client_of, list_name
from app.errors import NotReady
from app.keyed_requests import keyed
from app.schemas import Job
from models.errors import Conflict, Invalid, Unavailable
from worker.contract import FailureCode, JobState, Status
from worker.inference_queue import new_job_id
from worker.overview import Overview
from worker.webhooks import Hook


async def take_in(
    request: Request,
    services: Services,
    accept: Callable[[str, Hook | None], None],
    wait_s: float,
    webhook: str,
    *,
    torch_for: str | None = None,
) -> JobState | Response:
    """Store an upload, queue its job, and wait up to ``wait_s`` for the job to end.

    Args:
        accept: stores and queues it under the job id that it is called with, and with whom to tell how that ended.
        webhook: the address to tell; empty: none.
        torch_for: what of it needs torch, as the beginning of a sentence.

    Returns:
        The job once it has succeeded; before that the answer 202 with it.

    Raises:
        Invalid: the upload is refused.
        Conflict: its name is taken.
        NotReady: the job was canceled.
        Unavailable: it could not be taken in, through no fault of its own, or there is no preparer.
    """
    await run_in_threadpool(services.uploads.require_preparer, torch_for=torch_for)
    found, client = keyed(request), client_of(request)
    job_id = found.id if found else new_job_id()
    hook = services.webhooks.hook(webhook, "job", job_id, owner=caller_of(request).name)
    with services.dispatcher.watching(job_id) as events:
        await run_in_threadpool(accept, job_id, hook)
        if found is not None:
            await found.made()
        for listed in (client, list_name(caller_of(request), None)):
            if listed is not None:
                await run_in_threadpool(Overview(services.queue.connection).remember, listed, job_id)
        event = await services.dispatcher.wait_for_end(request, job_id, events, wait_s) if wait_s else None
    state = await outcome(services, job_id, waited=event is not None)
    return state if event is not None and state.status is Status.SUCCEEDED else job_answer(state)


async def outcome(services: Services, job_id: str, *, waited: bool) -> JobState:
    """The state of a job that takes an upload in.

    Args:
        waited: whether it was waited for, and has ended.

    Raises:
        Invalid, Conflict, NotReady, Unavailable: as :func:`take_in`, if it was waited for in vain.
    """
    state = await services.jobs.state(job_id)
    if state is None:
        raise Unavailable("The queue lost this job. Send the file again.")
    if waited and state.status is Status.CANCELED:
        raise NotReady("The job was canceled while it was waited for.")
    if waited and state.status is Status.FAILED:
        assert state.error is not None
        match state.error.code:
            case FailureCode.ARCHIVE_REFUSED | FailureCode.MODEL_REFUSED:
                raise Invalid(state.error.detail)
            case FailureCode.NAME_TAKEN:
                raise Conflict(state.error.detail)
            case _:
                raise Unavailable(state.error.detail)
    return state


def job_answer(state: JobState) -> Response:
    """The answer 202 with the job."""
    job = Job.of(state)
    headers = {"Location": job.links.self, "X-Job-Id": job.id}
    return Response(job.model_dump_json(), status_code=202, headers=headers, media_type="application/json")
