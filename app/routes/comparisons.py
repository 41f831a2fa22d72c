"""Comparisons of training runs: POST and GET /training/compare, their pictures and videos, stop, DELETE."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import JSONResponse

from app import images
from app.callers import Caller
from app.deps import CallerDep, Services, ServicesDep
from app.keyed_requests import RunIdDep
from app.negotiation import JSON, accepted_type
from app.routes import answers
from app.routes.fields import StartQuery
from app.training_schemas import Comparison, ComparisonForecast, ComparisonState
from models.errors import NotFound

router = APIRouter(prefix="/training/compare", tags=["training"])


def _comparison_id(services: ServicesDep, caller: CallerDep, id: str) -> str:
    if not caller.sees(services.comparisons.owner(id)):
        raise NotFound(f"There is no comparison {id[:100]!r}.")
    return id


OwnComparisonId = Annotated[str, Depends(_comparison_id)]


@router.post(
    "",
    status_code=202,
    summary="Compare several training runs",
    response_model=ComparisonState,
    responses={
        200: {"description": "With `dry_run`: a forecast of the runs.", "model": ComparisonForecast},
        202: {"description": "The comparison, queued. `Location` is its address.", "model": ComparisonState},
        **answers.problems(404, 422, 503),
    },
)
async def compare_runs(
    services: ServicesDep, caller: CallerDep, comparison: Comparison, query: StartQuery, run_id: RunIdDep
) -> Response:
    """Start a run for each variant of a base, one after the other. Give a list of variants or a grid of option values.

    For instance, StarGAN v2 with two settings of Adam:

        {"family": "stargan_v2", "base": {"dataset": "cat2dog", "lr": 1e-4, "f_lr": 1e-6, "masks": "ones"},
         "variants": [{"beta1": 0, "beta2": 0.99, "weight_decay": 1e-4},
                      {"beta1": 0.5, "beta2": 0.5, "weight_decay": 1e-4}]}
    """
    return await services.starts.run(_start, services, caller, comparison, run_id, dry_run=query.dry_run)


def _start(
    services: Services, caller: Caller, comparison: Comparison, comparison_id: str | None, *, dry_run: bool
) -> Response:
    if dry_run:
        return JSONResponse(services.comparisons.forecast(comparison, caller).model_dump(mode="json"))
    state = services.comparisons.view(services.comparisons.start(comparison, caller, comparison_id))
    headers = {"Location": state.links["self"]}
    return JSONResponse(state.model_dump(mode="json"), status_code=202, headers=headers)


@router.get("", summary="List the comparisons", responses=answers.problems(503))
def list_comparisons(services: ServicesDep, caller: CallerDep) -> list[ComparisonState]:
    """All comparisons, newest first."""
    return services.comparisons.all(caller)


@router.get("/{id}", summary="Read a comparison", responses=answers.problems(404, 503))
def read_comparison(services: ServicesDep, id: OwnComparisonId) -> ComparisonState:
    """A table: for each run its own options, its losses, and its quality on held-out pictures."""
    return services.comparisons.view(id)


@router.post("/{id}/stop", status_code=202, summary="Stop a comparison", responses=answers.problems(404, 503))
def stop_comparison(services: ServicesDep, id: OwnComparisonId) -> ComparisonState:
    """The present run saves a checkpoint and stops; queued runs do not start. Each run can be resumed on its own."""
    services.comparisons.stop(id)
    return services.comparisons.view(id)


@router.delete("/{id}", status_code=204, summary="Remove a comparison", responses=answers.problems(404, 409, 503))
def remove_comparison(services: ServicesDep, id: OwnComparisonId) -> None:
    """Delete the comparison and its runs with all checkpoints and pictures, once every run has ended.

    Published models are kept.
    """
    services.comparisons.remove(id)


@router.get(
    "/{id}/picture",
    summary="Get a comparison's picture",
    response_class=Response,
    responses={200: answers.file("The picture.", *images.MEDIA_TYPES), **answers.problems(404, 406, 409)},
)
async def read_comparison_picture(
    services: ServicesDep, id: OwnComparisonId, accept: Annotated[str | None, Header()] = None
) -> Response:
    """The same inputs, translated by the generators of each run."""
    media_type = accepted_type(accept, images.MEDIA_TYPES)
    media_type = images.MEDIA_TYPES[0] if media_type == JSON else media_type
    picture = await services.encoders.run(services.comparisons.picture, id, media_type)
    return Response(picture, media_type=media_type, headers={"Vary": "Accept"})


@router.get(
    "/{id}/video",
    summary="Get a comparison's video",
    response_class=Response,
    responses={200: answers.file("The video, as MP4.", "video/mp4"), **answers.problems(404, 409)},
)
async def read_comparison_video(services: ServicesDep, id: OwnComparisonId) -> Response:
    """The same sources moving from style to style, a row for each run. Only for StarGAN v2 runs that have ended."""
    film = await services.encoders.run(services.comparisons.video, id)
    return Response(film, media_type="video/mp4")
