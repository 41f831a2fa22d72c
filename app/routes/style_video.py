"""POST /style/video."""

from typing import Annotated

from fastapi import APIRouter, Depends, File, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.deps import ServicesDep
from app.geometry import Geometry
from app.negotiation import accepted_type
from app.orders import clip_order
from app.rendering import OFFERED
from app.replies import reply
from app.routes import answers, fields
from app.routes.style import Look, Stroke
from app.submitting import submit

router = APIRouter(prefix="/style", tags=["style"])


@router.post(
    "/video",
    summary="Paint a video in the style of a picture",
    response_class=Response,
    responses=answers.work(
        answers.result("The painted video or, with `Accept: application/json`, the job.", *OFFERED["clip"])
    ),
)
async def paint_video(
    request: Request,
    services: ServicesDep,
    video: Annotated[UploadFile, File(description="a clip: MP4, MOV or WebM")],
    look: Annotated[Look, Depends()],
    stroke: Stroke = 1.0,
    resolution: fields.Resolution = "",
    wait: fields.Wait = 60,
    webhook: fields.Webhook = "",
) -> Response:
    """Upload a clip and a painting, and get the clip back as if each frame were painted so: an MP4 with its sound.

    All frames are painted in one style, and strokes stay on what they paint while the camera moves. It takes a while:
    send `wait=0`, and follow `GET /jobs/{id}/events`. Short jobs are run in between.
    """
    media_type = accepted_type(request.headers.get("accept"), OFFERED["clip"])
    geometry = Geometry(fields.resolution(resolution), stroke=stroke)
    await services.dispatcher.require_worker()
    runs = await run_in_threadpool(services.selection.style, look.model)
    order = clip_order(runs, await video.read(), geometry, await look.fields())
    return await reply(services, await submit(request, services, order, wait, webhook), media_type)
