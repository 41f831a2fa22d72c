"""POST /stargan/reference, /latent, /style, /grid and /video."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.deps import Services, ServicesDep
from app.geometry import Geometry
from app.negotiation import accepted_type
from app.orders import Order, stargan_order, style_code_order
from app.rendering import OFFERED, ZIP
from app.replies import job_reply, reply
from app.routes import answers, fields
from app.schemas import StyleCode
from app.style_fields import StyleFields, draw_seed, read_seeds
from app.submitting import submit
from models.errors import Invalid
from worker.contract import Status

router = APIRouter(prefix="/stargan", tags=["stargan"])

Domain = Annotated[str, Form(description="one of the model's domains, see `GET /models`; empty: the first of them")]
StarganModel = Annotated[
    str,
    Form(
        description="name of a StarGAN model, see `GET /models`; empty: `stargan-celeba-hq` if its weights are on this "
        "server, else `stargan-monet-lite`",
        examples=["stargan-celeba-hq", "stargan-monet-lite"],
    ),
]

Align = Annotated[
    Literal["auto", "none"],
    Form(
        description="`auto`: as the model needs it: if it was trained on faces, the face is found, rotated upright and "
        "cropped, in sources and references alike; `none`: the pictures are used as they are"
    ),
]


@dataclass
class Choices:
    """Form fields shared by the calls that make pictures."""

    domain: Domain = ""
    model: StarganModel = ""
    align: Align = "auto"
    resolution: fields.Resolution = ""
    fit: fields.FitField = "keep"
    wait: fields.Wait = 60
    webhook: fields.Webhook = ""

    @property
    def geometry(self) -> Geometry:
        return Geometry(fields.resolution(self.resolution), self.fit)


@dataclass
class SquareChoices(Choices):
    """The same for calls that put pictures side by side, which must be square."""

    fit: Annotated[
        Literal["crop", "square"],
        Form(description="`crop` each source to its middle square, or stretch it to a `square`"),
    ] = "crop"


Psi = Annotated[
    float,
    Form(ge=0, le=1, description="truncation: 1 for the random style itself, 0 for the mean style of the domain"),
]

MAX_GRID = 8  # pictures on either side of a grid, or styles of a video
MAX_FILMED = 4  # sources of a video
DRAWN = 4  # styles of a grid or a video that names none

PICTURE_ANSWERS = answers.work(answers.picture("The picture or, with `Accept: application/json`, the job."))


@router.post(
    "/reference", summary="Apply the style of a reference picture", response_class=Response, responses=PICTURE_ANSWERS
)
async def translate_by_reference(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    choices: Annotated[Choices, Depends()],
    reference: Annotated[UploadFile | None, File(description="a picture of the domain, whose style is applied")] = None,
    style: Annotated[str, Form(description="instead of a reference: a style code from `POST /stargan/style`")] = "",
) -> Response:
    """Translate the content of `image` into the style of `reference`.

    Weights of `stargan-celeba-hq` and `stargan-afhq` are under CC BY-NC 4.0: no commercial use.
    """
    style_fields = StyleFields(choices.domain, await reference.read() if reference else None, style=style)
    if not style_fields.sent:
        raise Invalid("A reference picture or a style code is needed: send reference or style.")
    return await _translate(request, services, image, style_fields, choices)


@router.post("/latent", summary="Apply a random style", response_class=Response, responses=PICTURE_ANSWERS)
async def translate_by_latent(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    choices: Annotated[Choices, Depends()],
    seed: Annotated[
        str,
        Form(
            description="seed of the latent code: the same seed always gives the same style; without it and `latent`, "
            "one is drawn, and told in `X-Seed`"
        ),
    ] = "",
    latent: Annotated[str, Form(description="instead of a seed: the latent code, as a JSON list of 16 numbers")] = "",
    psi: Psi = 1.0,
) -> Response:
    """Translate the content of `image` into the style that a random latent code gives.

    Weights of `stargan-celeba-hq` and `stargan-afhq` are under CC BY-NC 4.0: no commercial use.
    """
    style_fields = StyleFields(choices.domain, seed=seed, latent=latent, psi=psi)
    return await _translate(request, services, image, style_fields, choices)


async def _translate(
    request: Request, services: Services, image: UploadFile, style: StyleFields, choices: Choices
) -> Response:
    media_type = accepted_type(request.headers.get("accept"))
    order = await _order(services, [image], [style], choices)
    return await reply(services, await submit(request, services, order, choices.wait, choices.webhook), media_type)


@router.post(
    "/style",
    summary="Extract a picture's style code",
    response_model=StyleCode,
    responses={
        202: answers.job("Not finished within `wait` seconds: the job, which will contain the style code."),
        500: answers.job("The job failed: the job, whose `error` says why."),
        **answers.problems(409, 413, 422, 503),
    },
)
async def read_style(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    domain: Domain = "",
    model: StarganModel = "",
    align: Align = "auto",
    wait: fields.Wait = 60,
    webhook: fields.Webhook = "",
) -> Response | StyleCode:
    """A style code is a list of numbers that describes a picture's style. Send it as `style` instead of a reference.

    Style codes can be stored, blended, and used again without the picture.
    """
    await services.dispatcher.require_worker()
    runs = await run_in_threadpool(services.selection.stargan, model)
    order = style_code_order(runs, await image.read(), domain, align=align == "auto")
    submission = await submit(request, services, order, wait, webhook)
    if submission.end is not None and submission.end.status is Status.SUCCEEDED:
        state = await services.jobs.state(submission.job_id)
        if state is not None and state.style is not None:
            return StyleCode(style=state.style, domain=runs.card.domains[order.guides[0].domain], model=runs.name)
    return await job_reply(services, submission)


Sources = Annotated[list[UploadFile], File(description="the pictures to translate")]
References = Annotated[
    list[UploadFile] | None, File(description="pictures of the domain, whose styles are applied; or send `seeds`")
]
Seeds = Annotated[
    str,
    Form(
        description="instead of references: seeds of latent codes, as a JSON list: `[1, 2, 3]`; without references and "
        "seeds, 4 are drawn, and told in `X-Seed`"
    ),
]


@router.post(
    "/grid",
    summary="Draw a grid of sources and styles",
    response_class=Response,
    responses=answers.work(
        answers.picture("The grid, or its cells as `application/zip`; with `Accept: application/json`, the job.", ZIP)
    ),
)
async def draw_grid(
    request: Request,
    services: ServicesDep,
    sources: Sources,
    choices: Annotated[SquareChoices, Depends()],
    references: References = None,
    seeds: Seeds = "",
    psi: Psi = 1.0,
) -> Response:
    """One picture: up to 8 sources along the top, up to 8 references along the left, and each source in each style.

    Weights of `stargan-celeba-hq` and `stargan-afhq` are under CC BY-NC 4.0: no commercial use.
    """
    media_type = accepted_type(request.headers.get("accept"), OFFERED["grid"])
    _check_count("sources", sources, 1, MAX_GRID)
    styles = await _styles(references, seeds, choices.domain, psi, at_least=1)
    order = await _order(services, sources, styles, choices, kind="grid")
    return await reply(services, await submit(request, services, order, choices.wait, choices.webhook), media_type)


@router.post(
    "/video",
    summary="Make a video of changing styles",
    response_class=Response,
    responses=answers.work(
        answers.result("The video or, with `Accept: application/json`, the job.", *OFFERED["video"])
    ),
)
async def film_styles(
    request: Request,
    services: ServicesDep,
    sources: Sources,
    choices: Annotated[SquareChoices, Depends()],
    references: References = None,
    seeds: Seeds = "",
    psi: Psi = 1.0,
    frames: Annotated[int, Form(ge=2, le=120, description="frames from one style to the next")] = 24,
    fps: Annotated[int, Form(ge=1, le=60, description="frames per second")] = 24,
) -> Response:
    """1 to 4 sources side by side, moving smoothly through the styles of 2 to 8 references or seeds.

    The video is an MP4 (H.264) or, with `Accept: image/webp`, an animated WebP. It takes a while: send `wait=0` and
    follow `GET /jobs/{id}/events`. Short jobs are run in between.

    Weights of `stargan-celeba-hq` and `stargan-afhq` are under CC BY-NC 4.0: no commercial use.
    """
    media_type = accepted_type(request.headers.get("accept"), OFFERED["video"])
    _check_count("sources", sources, 1, MAX_FILMED)
    styles = await _styles(references, seeds, choices.domain, psi, at_least=2)
    order = await _order(services, sources, styles, choices, kind="video", frames=frames, fps=fps)
    return await reply(services, await submit(request, services, order, choices.wait, choices.webhook), media_type)


async def _order(
    services: Services, sources: list[UploadFile], styles: list[StyleFields], choices: Choices, **more: Any
) -> Order:
    await services.dispatcher.require_worker()
    runs = await run_in_threadpool(services.selection.stargan, choices.model)
    images = [await source.read() for source in sources]
    return stargan_order(runs, images, choices.geometry, styles, align=choices.align == "auto", **more)


async def _styles(
    references: list[UploadFile] | None, seeds: str, domain: str, psi: float, *, at_least: int
) -> list[StyleFields]:
    """Read one style per reference or seed; of drawn seeds if neither was sent."""
    if references and seeds:
        raise Invalid("Send either references or seeds, not both.")
    if references:
        _check_count("references", references, at_least, MAX_GRID)
        return [StyleFields(domain, await reference.read()) for reference in references]
    numbers = read_seeds(seeds, at_least, MAX_GRID) if seeds else [draw_seed() for _ in range(DRAWN)]
    return [StyleFields(domain, seed=str(number), psi=psi) for number in numbers]


def _check_count(field: str, uploads: list[UploadFile], at_least: int, at_most: int) -> None:
    if not at_least <= len(uploads) <= at_most:
        raise Invalid(f"{field}: {len(uploads)} pictures; this call takes {at_least} to {at_most}.")
