"""POST /training/compare, a comparison, its picture and its video."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool

from app import images
from app.deps import ServicesDep
from app.negotiation import JSON, accepted_type
from app.routes import answers
from app.training_schemas import Comparison, ComparisonState

router = APIRouter(prefix="/training/compare", tags=["training"])


@router.post(
    "",
    status_code=202,
    summary="Train several runs to compare them",
    responses=answers.problems(404, 422, 503),
)
async def compare(services: ServicesDep, comparison: Comparison, response: Response) -> ComparisonState:
    """One base and a list or a grid of options: a run for each, made one after the other.

    For instance StarGAN v2 under four settings of Adam:

        {"family": "stargan_v2", "base": {"dataset": "cat2dog", "lr": 1e-4, "f_lr": 1e-6, "masks": "ones"},
         "variants": [{"beta1": 0, "beta2": 0.99, "weight_decay": 1e-4},
                      {"beta1": 0.5, "beta2": 0.5, "weight_decay": 1e-4}]}
    """
    comparison_id = await run_in_threadpool(services.comparisons.start, comparison)
    response.headers["Location"] = f"/training/compare/{comparison_id}"
    return await run_in_threadpool(services.comparisons.view, comparison_id)


@router.get("/{id}", summary="A comparison's table", responses=answers.problems(404, 503))
def read_comparison(services: ServicesDep, id: str) -> ComparisonState:
    """Every run with what sets it apart, its losses and its figures on held-out pictures."""
    return services.comparisons.view(id)


@router.get(
    "/{id}/picture",
    summary="The same inputs under each run's generators",
    response_class=Response,
    responses={200: answers.picture("The picture."), **answers.problems(404, 406, 409)},
)
def read_picture(services: ServicesDep, id: str, accept: Annotated[str | None, Header()] = None) -> Response:
    media_type = accepted_type(accept, images.MEDIA_TYPES)
    media_type = images.MEDIA_TYPES[0] if media_type == JSON else media_type
    return Response(services.comparisons.picture(id, media_type), media_type=media_type, headers={"Vary": "Accept"})


@router.get(
    "/{id}/video",
    summary="Each run's way from reference to reference",
    response_class=Response,
    responses={200: {"description": "MP4.", "content": {"video/mp4": {}}}, **answers.problems(404, 409)},
)
def read_video(services: ServicesDep, id: str) -> Response:
    """Of StarGAN v2 runs that have come to their end, one above the other."""
    return Response(services.comparisons.video(id), media_type="video/mp4")
