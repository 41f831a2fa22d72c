"""POST and GET /training/compare, a comparison, its picture and its video; stop; DELETE."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse

from app import images
from app.deps import ServicesDep
from app.negotiation import JSON, accepted_type
from app.routes import answers
from app.routes.fields import MannerQuery
from app.training_schemas import Comparison, ComparisonForecast, ComparisonState

router = APIRouter(prefix="/training/compare", tags=["training"])


@router.post(
    "",
    status_code=202,
    summary="Train several runs to compare them",
    response_model=ComparisonState,
    responses={
        200: {"description": "With `dry_run`: what the runs would be.", "model": ComparisonForecast},
        202: {"description": "The comparison, queued. `Location` is where to look.", "model": ComparisonState},
        **answers.problems(404, 422, 503),
    },
)
def compare(services: ServicesDep, comparison: Comparison, manner: MannerQuery) -> Response:
    """One base and a list or a grid of options: a run for each, made one after the other.

    For instance StarGAN v2 under four settings of Adam:

        {"family": "stargan_v2", "base": {"dataset": "cat2dog", "lr": 1e-4, "f_lr": 1e-6, "masks": "ones"},
         "variants": [{"beta1": 0, "beta2": 0.99, "weight_decay": 1e-4},
                      {"beta1": 0.5, "beta2": 0.5, "weight_decay": 1e-4}]}
    """
    if manner.dry_run:
        return JSONResponse(services.comparisons.forecast(comparison).model_dump(mode="json"))
    state = services.comparisons.view(services.comparisons.start(comparison))
    headers = {"Location": state.links["self"]}
    return JSONResponse(state.model_dump(mode="json"), status_code=202, headers=headers)


@router.get("", summary="All comparisons", responses=answers.problems(503))
def list_comparisons(services: ServicesDep) -> list[ComparisonState]:
    """Newest first."""
    return services.comparisons.all()


@router.get("/{id}", summary="A comparison's table", responses=answers.problems(404, 503))
def read_comparison(services: ServicesDep, id: str) -> ComparisonState:
    """Every run with what sets it apart, its losses and its figures on held-out pictures."""
    return services.comparisons.view(id)


@router.post("/{id}/stop", status_code=202, summary="Stop a comparison", responses=answers.problems(404, 503))
def stop_comparison(services: ServicesDep, id: str) -> ComparisonState:
    """The run in hand saves a checkpoint and stops; those that wait never begin. Each can be resumed by itself."""
    services.comparisons.stop(id)
    return services.comparisons.view(id)


@router.delete("/{id}", status_code=204, summary="Remove a comparison", responses=answers.problems(404, 409, 503))
def remove_comparison(services: ServicesDep, id: str) -> None:
    """With its runs and all their checkpoints and pictures, once every run has ended. Published models stay."""
    services.comparisons.remove(id)


@router.get(
    "/{id}/picture",
    summary="The same inputs under each run's generators",
    response_class=Response,
    responses={200: answers.picture("The picture."), **answers.problems(404, 406, 409)},
)
def read_picture(services: ServicesDep, id: str, accept: Annotated[str | None, Header()] = None) -> Response:
    media_type = accepted_type(accept, images.MEDIA_TYPES)
    media_type = images.MEDIA_TYPES[0] if media_type == JSON else media_type
    with services.codecs:
        picture = services.comparisons.picture(id, media_type)
    return Response(picture, media_type=media_type, headers={"Vary": "Accept"})


@router.get(
    "/{id}/video",
    summary="Each run's way from reference to reference",
    response_class=Response,
    responses={200: {"description": "MP4.", "content": {"video/mp4": {}}}, **answers.problems(404, 409)},
)
def read_video(services: ServicesDep, id: str) -> Response:
    """Of StarGAN v2 runs that have come to their end, one above the other."""
    with services.codecs:
        film = services.comparisons.video(id)
    return Response(film, media_type="video/mp4")
