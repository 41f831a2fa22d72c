"""GET and DELETE /jobs/{id}, its picture and its events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.deps import JobDep, ServicesDep
from app.errors import Expired, NotReady
from app.negotiation import JSON, accepted_type
from app.rendering import OFFERED, render
from app.routes import answers
from app.schemas import Job
from models.errors import NotFound
from worker.contract import Status
from worker.errors import QueueUnreachable

POSITION_POLL_S = 1.0  # no event tells that the jobs ahead grew fewer

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("/{id}", summary="A job's status", responses=answers.problems(404, 503))
def read_job(job: JobDep) -> Job:
    """Where a job stands. Ended jobs can be asked about for some hours."""
    return Job.of(job)


@router.get(
    "/{id}/image",
    summary="A job's picture",
    response_class=Response,
    responses={200: answers.picture("The translated picture."), **answers.problems(404, 406, 409, 410, 503)},
)
def read_image(services: ServicesDep, job: JobDep, accept: Annotated[str | None, Header()] = None) -> Response:
    """The translated picture, once the job has succeeded and for as long as it is kept."""
    if job.kind == "style":
        raise NotReady("This job makes a style code, not a picture; it is in the job itself.")
    if job.kind == "dataset":
        raise NotReady(f"This job makes a data set, not a picture; see /datasets/{job.dataset}.")
    offered = OFFERED[job.kind]
    media_type = accepted_type(accept, offered)
    if media_type == JSON:
        media_type = offered[0]
    if job.status is not Status.SUCCEEDED:
        reason = f": {job.error.detail}" if job.error else ""
        raise NotReady(f"The job is {job.status}{reason or '.'} A picture is there once it has succeeded.")
    result = services.queue.result(job.id)
    if result is None:
        raise Expired("The picture was kept for a while and is gone. Send the original again.")
    headers = {"X-Job-Id": job.id, "X-Model": job.model, "Vary": "Accept"}
    if job.notes:
        headers["X-Note"] = "; ".join(job.notes)
    with services.codecs:
        body = render(result, job.kind, job.layout, media_type)
    return Response(body, headers=headers, media_type=media_type)


@router.get(
    "/{id}/events",
    summary="A job's progress as server-sent events",
    response_class=EventSourceResponse,
    responses=answers.problems(404, 503),
)
async def read_events(services: ServicesDep, job: JobDep) -> AsyncIterator[ServerSentEvent]:
    """An event `job` with the whole job now and at each change; the stream ends with the job."""
    with services.dispatcher.watching(job.id) as events:
        shown = None
        while True:
            try:
                state = await run_in_threadpool(services.queue.state, job.id)
            except QueueUnreachable:  # it comes back, or the listener does
                if services.ending.is_set():
                    return
                await asyncio.sleep(POSITION_POLL_S)
                continue
            if state is None:
                return
            if state != shown:
                shown = state
                yield ServerSentEvent(data=Job.of(state), event="job")
            if state.status.ended or services.ending.is_set():
                return
            try:
                await asyncio.wait_for(events.get(), POSITION_POLL_S)
            except TimeoutError:
                continue


@router.delete("/{id}", summary="Cancel a job", responses=answers.problems(404, 409, 503))
def cancel_job(services: ServicesDep, job: JobDep) -> Job:
    """Cancel a job: queued, it never runs; running, its result is dropped. An ended job cannot be canceled."""
    if job.status.ended and job.status is not Status.CANCELED:
        raise NotReady(f"The job has {job.status} already; only a queued or running one can be canceled.")
    state = services.queue.cancel(job.id)
    if state is None:
        raise NotFound(f"There is no job {job.id!r}.")
    if state.status is not Status.CANCELED:
        raise NotReady("The job was about to end, and could no longer be canceled.")
    return Job.of(state)
