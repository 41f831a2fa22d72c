"""POST /translate."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app import images
from app.deps import Services, ServicesDep
from app.errors import BadRequest, NotReady, Unavailable
from app.images import Fit, Geometry
from app.negotiation import JSON, accepted_type
from app.results import Events, ended
from app.routes import answers
from app.schemas import Job
from worker.contract import JobEvent, JobState, Status, TranslationTask
from worker.queue import new_job_id

NO_WORKER_S = 30  # without any worker; a restart takes less
MAX_WAIT_S = 600
RESOLUTIONS = range(32, 2049)

router = APIRouter(tags=["translate"])


@router.post(
    "/translate",
    summary="Translate a picture",
    response_class=Response,
    responses={
        200: answers.picture("The translated picture, or with `Accept: application/json` the job."),
        202: answers.job("Not done within `wait`: the job. `Location` is where to look."),
        500: answers.job("The job failed: the job, whose `error` says why."),
        **answers.problems(406, 409, 413, 422, 503),
    },
)
async def translate(
    request: Request,
    services: ServicesDep,
    image: Annotated[UploadFile, File(description="JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF")],
    model: Annotated[str, Form(description="a model of `GET /models`")] = "style_monet",
    resolution: Annotated[
        str,
        Form(description="short side in px, 32 to 2048; `native`: as uploaded; empty: as uploaded but at most 512"),
    ] = "",
    fit: Annotated[
        Fit, Form(description="`keep` the aspect, stretch to a `square`, or `crop` the middle square")
    ] = "keep",
    wait: Annotated[
        float, Form(ge=0, le=MAX_WAIT_S, description="seconds to wait for the picture; 0: do not wait")
    ] = 60,
) -> Response:
    """Give a picture and a model's name, get the translated picture.

    A client that goes away cancels its job. The answer's headers: `X-Job-Id`; `X-Model`, the model that ran (a `-lite`
    twin answers while the weights of the model that was asked for are not here); `Server-Timing`.
    """
    answer_type = accepted_type(request.headers.get("accept"))
    geometry = Geometry(_resolution(resolution), fit)
    if services.dispatcher.no_worker_for_s > NO_WORKER_S:
        raise Unavailable(f"No worker was heard of for {NO_WORKER_S} s. The operator starts one with: doppel worker")
    data = await image.read()

    job_id = new_job_id()
    with services.dispatcher.watching(job_id) as events:
        runs = await run_in_threadpool(_submit, services, job_id, model, data, geometry)
        event = await _outcome(request, services, job_id, events, wait) if wait else None
    if event is not None and event.status is Status.SUCCEEDED and answer_type != JSON:
        return await run_in_threadpool(_picture_answer, services, event, runs, answer_type)
    return await run_in_threadpool(_job_answer, services, job_id, waited=event is not None)


def _resolution(value: str) -> images.Resolution:
    if not value:
        return None
    if value == "native":
        return "native"
    if len(value) > 4 or not value.isascii() or not value.isdigit() or int(value) not in RESOLUTIONS:
        bounds = f"{RESOLUTIONS[0]} to {RESOLUTIONS[-1]}"
        raise BadRequest(f"resolution: {value[:40]!r} is neither a number of pixels from {bounds} nor 'native'.")
    return int(value)


def _submit(services: Services, job_id: str, model: str, data: bytes, geometry: Geometry) -> str:
    """Settle which model runs, decode, and queue the job; the name of the model."""
    runs = services.selection.running(model).name
    started = time.perf_counter()
    settings = services.settings
    with services.decoding:
        picture = images.decode(
            data, geometry, max_pixels=settings.max_pixels, max_output_pixels=settings.max_output_pixels
        )
    decode_ms = round((time.perf_counter() - started) * 1000, 1)
    height, width, _ = picture.shape
    task = TranslationTask(model=runs, height=height, width=width)
    services.queue.submit(task, picture, decode_ms=decode_ms, job_id=job_id)
    return runs


async def _outcome(request: Request, services: Services, job_id: str, events: Events, wait_s: float) -> JobEvent | None:
    """How the job ended; None if it has not within ``wait_s``. A client that goes away takes its job with it."""
    outcome = asyncio.ensure_future(ended(events))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({outcome, gone}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if outcome.done():
            return outcome.result()
        if gone.done():
            await run_in_threadpool(services.queue.cancel, job_id)
        return None
    finally:
        outcome.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _job_answer(services: Services, job_id: str, *, waited: bool) -> Response:
    """The job: with 202 while its end was not waited for, whatever has become of it since."""
    state: JobState | None = services.queue.state(job_id)
    if state is None:
        raise Unavailable("The queue lost this job. Send it again.")
    if waited and state.status is Status.CANCELED:
        raise NotReady("The job was canceled while it was waited for.")
    status = {Status.SUCCEEDED: 200, Status.FAILED: 500}.get(state.status, 202) if waited else 202
    job = Job.of(state)
    headers = {"X-Job-Id": state.id, "X-Model": state.model, "Location": job.links.self, "Vary": "Accept"}
    return Response(job.model_dump_json(), status_code=status, headers=headers, media_type=JSON)


def _picture_answer(services: Services, event: JobEvent, model: str, media_type: str) -> Response:
    picture = services.queue.picture(event.id)
    if picture is None:
        raise Unavailable("The result was lost before it could be delivered. Send the picture again.")
    services.dispatcher.delivered(event.id)
    started = time.perf_counter()
    body = images.encode(picture, media_type)
    timings = event.timings
    stages = {
        "decode": timings.decode_ms,
        "queue": timings.queue_ms,
        "inference": timings.inference_ms,
        "encode": round((time.perf_counter() - started) * 1000, 1),
    }
    timing = ", ".join(f"{stage};dur={spent_ms}" for stage, spent_ms in stages.items() if spent_ms is not None)
    headers = {"X-Job-Id": event.id, "X-Model": model, "Server-Timing": timing, "Vary": "Accept"}
    return Response(body, headers=headers, media_type=media_type)
