"""POST /translate."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.deps import ServicesDep
from app.guidance import Wish
from app.images import Geometry
from app.negotiation import accepted_type
from app.routes import answers, fields
from app.work import Order, answer, carry_out, require_worker, stargan_order

router = APIRouter(tags=["translate"])


@router.post(
    "/translate",
    summary="Translate a picture",
    response_class=Response,
    responses=answers.work(answers.picture("The translated picture, or with `Accept: application/json` the job.")),
)
async def translate(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    model: Annotated[str, Form(description="a model of `GET /models`")] = "style_monet",
    resolution: fields.Resolution = "",
    fit: fields.FitField = "keep",
    wait: fields.Wait = 60,
    domain: Annotated[str, Form(description="StarGAN only: one of the model's domains; empty: its first")] = "",
    reference: Annotated[UploadFile | None, File(description="StarGAN only: a picture whose style is taken")] = None,
    seed: Annotated[str, Form(description="StarGAN only: of a latent code")] = "",
    latent: Annotated[str, Form(description="StarGAN only: a latent code, a JSON list of numbers")] = "",
    style: Annotated[str, Form(description="StarGAN only: a style code from `/stargan/style`")] = "",
    psi: Annotated[float, Form(ge=0, le=1, description="StarGAN only: truncation of latent codes")] = 1.0,
) -> Response:
    """Give a picture and a model's name, get the translated picture.

    A StarGAN model also takes a domain and exactly one of `reference`, `seed`, `latent` and `style`.

    A client that goes away cancels its job. The answer's headers: `X-Job-Id`; `X-Model`, the model that ran (a `-lite`
    twin answers while the weights of the model that was asked for are not here); `Server-Timing`.
    """
    answer_type = accepted_type(request.headers.get("accept"))
    geometry = Geometry(fields.resolution(resolution), fit)
    require_worker(services)
    wish = Wish(domain, await reference.read() if reference else None, seed, latent, style, psi)
    runs = await run_in_threadpool(services.selection.running, model)
    data = await image.read()
    if runs.card.family == "stargan_v2":
        order = stargan_order(runs, [data], geometry, [wish], align=True)
    else:
        wish.refuse_for(runs)
        order = Order(runs, [data], geometry)
    done = await carry_out(request, services, order, wait)
    return await answer(services, order, done, answer_type)
