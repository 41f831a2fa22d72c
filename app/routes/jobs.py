"""GET /jobs; GET and DELETE /jobs/{id}, its picture and its events."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.addresses import address
from app.callers import Caller
from app.credentials import Signing
from app.deps import CLIENT_HEADER, CLIENT_NAME, CallerDep, JobDep, Services, ServicesDep, list_name
from app.errors import Expired, Forbidden, NotReady
from app.negotiation import JSON, accepted_type
from app.rendering import MP4, OFFERED, ZIP, render
from app.replies import job_headers
from app.routes import answers
from app.schemas import Job
from models.errors import Invalid, NotFound
from models.pictures import Picture
from worker.contract import JobState, Status
from worker.errors import QueueUnreachable
from worker.meters import STAGE_SECONDS
from worker.overview import Overview

POSITION_POLL_S = 1.0  # a change of the position in the queue sends no event

PAGE = {
    "description": "The jobs.",
    "headers": {
        "Link": {
            "description": 'the next page, as `<...>; rel="next"`, if this one is full',
            "schema": {"type": "string"},
        },
    },
}

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("", summary="List your jobs", responses={200: PAGE, **answers.problems(422, 503)})
def list_jobs(
    services: ServicesDep,
    response: Response,
    caller: CallerDep,
    x_client: Annotated[
        str | None,
        Header(
            pattern=CLIENT_NAME,
            description="a name that you drew at random and send with every order: 16 to 64 letters, digits, `-` and "
            "`_`. On a server without API keys, whoever knows it can list, read and cancel these jobs.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="jobs on a page")] = 50,
    before: Annotated[str, Query(max_length=64, description="only jobs that are older than this one, by its id")] = "",
) -> list[Job]:
    """The jobs that were ordered with the same `X-Client`, newest first, of the newest 1000 those that are kept.

    Every call that makes a job takes that header. Without it, all jobs of the API key are listed, of one with the scope
    `admin` those of all keys in use; a server without keys needs the header. Pictures are not in the answer. Training
    runs are listed by `GET /training`. A page that is full has a `Link` to the next.
    """
    ids = Overview(services.queue.connection).newest(
        *_lists(services, caller, x_client), limit=limit, before=before or None
    )
    if len(ids) == limit:
        response.headers["Link"] = f'<{address("/jobs")}?limit={limit}&before={ids[-1]}>; rel="next"'
    return [Job.of(state) for state in services.queue.states(ids) if state is not None]


def _lists(services: Services, caller: Caller, client: str | None) -> list[str]:
    if client is None and caller.is_admin and services.ring is not None:
        return [f"{name}:" for name in services.ring.names]
    listed = list_name(caller, client)
    if listed is None:
        raise Invalid(f"{CLIENT_HEADER}: the name that was sent with the orders is needed.")
    return [listed]


@router.get("/{id}", summary="Read a job's status", responses=answers.problems(404, 503))
async def read_job(job: JobDep) -> Job:
    """The job's present state. A job can still be read for some hours after it has ended."""
    return Job.of(job)


@router.get(
    "/{id}/image",
    summary="Get a job's picture",
    response_class=Response,
    responses={
        200: answers.picture("The translated picture; of a grid also its cells; or the video.", ZIP, MP4),
        **answers.problems(404, 406, 409, 410, 503),
    },
)
async def read_job_image(
    services: ServicesDep, job: JobDep, accept: Annotated[str | None, Header()] = None
) -> Response:
    """The picture that the job made: available once it has succeeded, for as long as the result is kept."""
    if job.kind == "style":
        raise NotReady("This job makes a style code, not a picture; read it from the job itself.")
    if job.kind == "dataset":
        raise NotReady(f"This job makes a data set, not a picture; see /datasets/{job.dataset}.")
    if job.kind == "fetch":
        raise NotReady(f"This job fetches a model's weights and makes no picture; see /models/{job.model}.")
    if job.kind == "model":
        raise NotReady(f"This job adds a model and makes no picture; see /models/{job.model}.")
    offered = OFFERED[job.kind]
    media_type = accepted_type(accept, offered)
    if media_type == JSON:
        media_type = offered[0]
    if job.status is not Status.SUCCEEDED:
        reason = f": {job.error.detail}" if job.error else ""
        raise NotReady(f"The job is {job.status}{reason or '.'} Its picture is available once it has succeeded.")
    body = services.recent_videos.get(job.id, media_type)
    if body is None:
        result = await services.jobs.result(job.id)
        if result is None:
            raise Expired("The picture was kept for a while and has been deleted. Send the original again.")
        started = time.perf_counter()
        body = await _signed(services, job, result, media_type)
        services.meter.observe(STAGE_SECONDS, time.perf_counter() - started, "encode")
        if job.kind in ("video", "clip"):
            services.recent_videos.keep(job.id, media_type, body)
    headers = job_headers(job.id, job.model, notes=job.notes, seeds=job.seeds)
    return Response(body, headers=headers, media_type=media_type)


async def _signed(services: Services, job: JobState, result: list[Picture], media_type: str) -> bytes:
    """The job's result as a file: the same one at each call, in whichever process."""
    history, kept = await services.jobs.signing(job.id, media_type)
    for _ in range(2):  # a second time, if another process was quicker
        sign = Signing(services.credentials, job.origin, history, kept=kept or b"")
        body = await services.encoders.run(render, result, job.kind, job.arrangement, job.delivery, media_type, sign)
        if not sign.changed or kept is not None:
            break
        kept = await services.jobs.keep_splices(job.id, media_type, sign.splices)
        if kept == sign.splices:
            break
    return body


@router.get(
    "/{id}/events",
    summary="Follow a job by server-sent events",
    response_class=EventSourceResponse,
    responses={200: answers.events("The events. The `data` of each is a job as JSON."), **answers.problems(404, 503)},
)
async def read_job_events(services: ServicesDep, job: JobDep) -> AsyncIterator[ServerSentEvent]:
    """Sends an event `job` with the whole job at once and at every change. The stream ends when the job ends."""
    with services.dispatcher.watching(job.id) as events:
        shown = None
        while True:
            try:
                state = await services.jobs.state(job.id)
            except QueueUnreachable:  # wait until Redis is back; clients reconnect if the server stops
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
def cancel_job(services: ServicesDep, caller: CallerDep, job: JobDep) -> Job:
    """Remove a queued job from the queue, or drop the result of a running one. An ended job cannot be canceled."""
    if not caller.sees(job.owner):
        raise Forbidden("A fetch of weights is everybody's: a key with the scope admin can cancel it.")
    if job.status.ended and job.status is not Status.CANCELED:
        raise NotReady(f"The job has already ended ({job.status}); only a queued or running job can be canceled.")
    state = services.queue.cancel(job.id)
    if state is None:
        raise NotFound(f"There is no job {job.id!r}.")
    if state.status is not Status.CANCELED:
        raise NotReady("The job was about to end and could no longer be canceled.")
    return Job.of(state)
