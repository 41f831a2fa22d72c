"""POST /stargan/reference, /stargan/latent and /stargan/style."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.deps import Services, ServicesDep
from app.guidance import Wish, domain_index
from app.images import Geometry
from app.negotiation import accepted_type
from app.routes import answers, fields
from app.schemas import StyleCode
from app.work import Order, answer, carry_out, job_answer, require_worker, stargan_order
from worker.contract import Status, StyleGuide

router = APIRouter(prefix="/stargan", tags=["stargan"])

Domain = Annotated[str, Form(description="one of the model's domains, see `GET /models`; empty: its first")]
StarganModel = Annotated[
    str,
    Form(
        description="a StarGAN model of `GET /models`; empty: `stargan-celeba-hq` if its weights are here, else "
        "`stargan-monet-lite`"
    ),
]

Align = Annotated[
    Literal["auto", "none"],
    Form(
        description="`auto`: as the model's card says, for faces the face is found, turned and cropped, in source and "
        "reference alike; `none`: the pictures are taken as they are"
    ),
]

PICTURE_ANSWERS = {
    200: answers.picture("The picture, or with `Accept: application/json` the job."),
    202: answers.job("Not done within `wait`: the job. `Location` is where to look."),
    500: answers.job("The job failed: the job, whose `error` says why."),
    **answers.problems(406, 409, 413, 422, 503),
}


@router.post(
    "/reference", summary="Give a picture another one's style", response_class=Response, responses=PICTURE_ANSWERS
)
async def by_reference(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    reference: Annotated[UploadFile | None, File(description="a picture of the domain, whose style is taken")] = None,
    style: Annotated[str, Form(description="instead of a reference: its style code, from `/stargan/style`")] = "",
    domain: Domain = "",
    model: StarganModel = "",
    align: Align = "auto",
    resolution: fields.Resolution = "",
    fit: fields.FitField = "keep",
    wait: fields.Wait = 60,
) -> Response:
    """What the source shows, painted or photographed like the reference.

    Weights of `stargan-celeba-hq` and `stargan-afhq` are under CC BY-NC 4.0: no commercial use.
    """
    wish = Wish(domain, await reference.read() if reference else None, style=style)
    geometry = Geometry(fields.resolution(resolution), fit)
    return await _translated(request, services, image, wish, model, geometry, align, wait)


@router.post(
    "/latent", summary="Give a picture a style drawn at random", response_class=Response, responses=PICTURE_ANSWERS
)
async def by_latent(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    seed: Annotated[str, Form(description="of the latent code: the same seed gives the same style anywhere")] = "",
    latent: Annotated[str, Form(description="instead of a seed: the latent code, a JSON list of 16 numbers")] = "",
    psi: Annotated[
        float, Form(ge=0, le=1, description="truncation: 1 for the style as drawn, 0 for the domain's mean style")
    ] = 1.0,
    domain: Domain = "",
    model: StarganModel = "",
    align: Align = "auto",
    resolution: fields.Resolution = "",
    fit: fields.FitField = "keep",
    wait: fields.Wait = 60,
) -> Response:
    """What the source shows, in a style that a latent code stands for.

    Weights of `stargan-celeba-hq` and `stargan-afhq` are under CC BY-NC 4.0: no commercial use.
    """
    wish = Wish(domain, seed=seed, latent=latent, psi=psi)
    geometry = Geometry(fields.resolution(resolution), fit)
    return await _translated(request, services, image, wish, model, geometry, align, wait)


async def _translated(
    request: Request,
    services: Services,
    image: UploadFile,
    wish: Wish,
    model: str,
    geometry: Geometry,
    align: str,
    wait: float,
) -> Response:
    answer_type = accepted_type(request.headers.get("accept"))
    require_worker(services)
    runs = await run_in_threadpool(services.selection.stargan, model)
    order = stargan_order(runs, await image.read(), geometry, wish, align=align == "auto")
    done = await carry_out(request, services, order, wait)
    return await answer(services, order, done, answer_type)


@router.post(
    "/style",
    summary="Read a picture's style code",
    response_model=StyleCode,
    responses={
        202: answers.job("Not done yet: the job, which will hold the style code."),
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
) -> Response | StyleCode:
    """The numbers that stand for a picture's style; send them as `style` wherever a reference is taken.

    They can be kept, blended, and used again without the picture.
    """
    require_worker(services)
    runs = await run_in_threadpool(services.selection.stargan, model)
    index = domain_index(runs, domain)
    order = Order(
        runs,
        await image.read(),
        Geometry.squeezed(runs.card.image_size),
        StyleGuide(domain=index),
        kind="style",
        align=align == "auto" and runs.card.align == "face",
    )
    done = await carry_out(request, services, order, wait)
    if done.event is not None and done.event.status is Status.SUCCEEDED:
        state = await run_in_threadpool(services.queue.state, done.job_id)
        if state is not None and state.style is not None:
            return StyleCode(style=state.style, domain=runs.card.domains[index], model=runs.name)
    return await run_in_threadpool(job_answer, services, done)
