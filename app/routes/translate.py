"""POST /translate."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from app.deps import ServicesDep
from app.form_routes import FormRoute
from app.geometry import Geometry
from app.negotiation import accepted_type
from app.orders import translation_order
from app.replies import reply
from app.routes import answers, fields
from app.style_fields import StyleFields
from app.submitting import submit

router = APIRouter(tags=["translate"], route_class=FormRoute)


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
    webhook: fields.Webhook = "",
    domain: Annotated[str, Form(description="StarGAN only: one of the model's domains; empty: the first of them")] = "",
    reference: Annotated[
        UploadFile | None, File(description="StarGAN and style models: a picture whose style is applied")
    ] = None,
    seed: Annotated[str, Form(description="StarGAN only: seed of a random latent code")] = "",
    latent: Annotated[str, Form(description="StarGAN only: a latent code, as a JSON list of numbers")] = "",
    style: Annotated[
        str,
        Form(description="a style code: StarGAN's from `POST /stargan/style`, a style model's from `POST /style/code`"),
    ] = "",
    psi: Annotated[
        float, Form(ge=0, le=1, description="StarGAN only: truncation of the latent code; 1 for none")
    ] = 1.0,
) -> Response:
    """Upload a picture, name a model, and get the translated picture back.

    A StarGAN model also takes one of `reference`, `seed`, `latent` and `style`, and a `domain`. If you send none of the
    four, a seed is drawn, and told in `X-Seed`. `style-by-example` takes `reference` or `style`.

    A CycleGAN or a style model translates a picture of more than 4 megapixels, which `resolution` may ask for, in
    tiles. That takes a while: send `wait=0`, and look at the job's progress.

    If the client disconnects while it waits, its job is canceled. `X-Model` names the model that ran: a `-lite` model
    replaces the requested one as long as that one's weights are not on this server.
    """
    media_type = accepted_type(request.headers.get("accept"))
    geometry = Geometry(fields.resolution(resolution), fit)
    await services.dispatcher.require_worker()
    reference_bytes = await reference.read() if reference else None
    style_fields = StyleFields(domain, reference_bytes, seed, latent, style, psi)
    runs = await services.selection.running_soon(model)
    order = translation_order(runs, await image.read(), geometry, style_fields)
    return await reply(services, await submit(request, services, order, wait, webhook), media_type)
