"""POST /style and /style/code."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.deps import ServicesDep
from app.geometry import Geometry
from app.negotiation import accepted_type
from app.orders import mixed_code_order, painting_order
from app.painting_fields import MAX_STYLES, PaintingFields
from app.replies import job_reply, reply
from app.routes import answers, fields
from app.schemas import PaintingCode
from app.style_options import STROKES, STYLE_DEFAULT
from app.submitting import submit
from models.errors import Invalid
from worker.contract import Status

router = APIRouter(prefix="/style", tags=["style"])

Styles = Annotated[
    list[UploadFile] | None,
    File(description=f"the picture whose style is applied, a painting for instance; up to {MAX_STYLES}, to mix them"),
]
Weights = Annotated[
    str, Form(description="how much of each style picture, as a JSON list: `[2, 1]`; empty: equally much of each")
]


@dataclass
class Look:
    """Form fields that say how a picture is painted; every call that paints takes them."""

    style: Styles = None
    weights: Weights = ""
    code: Annotated[str, Form(description="instead of style pictures: a style code from `POST /style/code`")] = ""
    model: Annotated[
        str,
        Form(
            description="`style-by-example` paints in the style of any picture; the others of this family, see "
            "`GET /models`, have one style each and take no style picture",
            examples=["style-by-example", "style-starry-strokes"],
        ),
    ] = STYLE_DEFAULT
    strength: Annotated[
        float, Form(ge=0, le=1, description="0 for the photo, 1 for the whole style, or anything between")
    ] = 1.0
    preserve_color: Annotated[bool, Form(description="keep the photo's colours, and take the brushwork alone")] = False

    async def fields(self) -> PaintingFields:
        """The fields with the pictures read."""
        styles = [await picture.read() for picture in self.style or []]
        return PaintingFields(styles, self.weights, self.code, self.strength, self.preserve_color)


Stroke = Annotated[
    float,
    Form(
        ge=STROKES[0],
        le=STROKES[1],
        description="size of the strokes: 2 is twice as coarse, 0.5 half as coarse, which takes four times as long",
    ),
]


@router.post(
    "",
    summary="Paint a picture in the style of another",
    response_class=Response,
    responses=answers.work(answers.picture("The painted picture or, with `Accept: application/json`, the job.")),
)
async def paint(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    look: Annotated[Look, Depends()],
    stroke: Stroke = 1.0,
    resolution: fields.Resolution = "",
    fit: fields.FitField = "keep",
    wait: fields.Wait = 60,
    webhook: fields.Webhook = "",
) -> Response:
    """Upload a photo and a painting, and get the photo back as if it were painted so.

    Strokes have one size in pixels, so a small `resolution` is painted coarsely and a large one finely; `stroke`
    changes that at the same resolution. A picture of more than 4 megapixels is painted in tiles, without seams.
    """
    media_type = accepted_type(request.headers.get("accept"))
    geometry = Geometry(fields.resolution(resolution), fit, stroke=stroke)
    await services.dispatcher.require_worker()
    runs = await run_in_threadpool(services.selection.style, look.model)
    order = painting_order(runs, await image.read(), geometry, await look.fields())
    return await reply(services, await submit(request, services, order, wait, webhook), media_type)


@router.post(
    "/code",
    summary="Read the style code of a picture",
    response_model=PaintingCode,
    responses={
        202: answers.job("Not finished within `wait` seconds: the job, which will contain the style code."),
        500: answers.job("The job failed: the job, whose `error` says why."),
        **answers.problems(409, 413, 422, 503),
    },
)
async def read_style_code(
    request: Request,
    services: ServicesDep,
    style: Annotated[list[UploadFile], File(description="the picture; several are mixed")],
    weights: Weights = "",
    wait: fields.Wait = 60,
    webhook: fields.Webhook = "",
) -> Response | PaintingCode:
    """A style code is a list of 100 numbers that describe how a picture is painted: send it as `code` to `POST /style`.

    Style codes can be stored, blended, and used again without the picture.
    """
    await services.dispatcher.require_worker()
    runs = await run_in_threadpool(services.selection.style, STYLE_DEFAULT)
    if not style:
        raise Invalid("style: a picture is needed.")
    order = mixed_code_order(runs, [await picture.read() for picture in style], weights)
    submission = await submit(request, services, order, wait, webhook)
    if submission.end is not None and submission.end.status is Status.SUCCEEDED:
        state = await services.jobs.state(submission.job_id)
        if state is not None and state.style is not None:
            return PaintingCode(code=state.style, model=runs.name)
    return await job_reply(services, submission)
