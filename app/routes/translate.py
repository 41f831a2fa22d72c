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
    responses=answers.work(answers.picture("The translated picture or, with `Accept: application/json`, the job.")),
)
async def translate(
    request: Request,
    services: ServicesDep,
    image: fields.Source,
    model: Annotated[
        str, Form(description="name of a model, see `GET /models`", examples=["style_monet", "monet2photo"])
    ] = "style_monet",
    resolution: fields.Resolution = "",
    fit: fields.FitField = "keep",
    wait: fields.Wait = 60,
    domain: Annotated[str, Form(description="StarGAN only: one of the model's domains; empty: the first of them")] = "",
    reference: Annotated[UploadFile | None, File(description="StarGAN only: a picture whose style is applied")] = None,
    seed: Annotated[str, Form(description="StarGAN only: seed of a random latent code")] = "",
    latent: Annotated[str, Form(description="StarGAN only: a latent code, as a JSON list of numbers")] = "",
    style: Annotated[str, Form(description="StarGAN only: a style code from `POST /stargan/style`")] = "",
    psi: Annotated[
        float, Form(ge=0, le=1, description="StarGAN only: truncation of the latent code; 1 for none")
    ] = 1.0,
) -> Response:
    """Upload a picture, name a model, and get the translated picture back.

    A StarGAN model also needs exactly one of `reference`, `seed`, `latent` and `style`, and takes a `domain`.

    If the client disconnects while it waits, its job is canceled. `X-Model` names the model that ran: a `-lite` model
    replaces the requested one as long as that one's weights are not on this server.
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
