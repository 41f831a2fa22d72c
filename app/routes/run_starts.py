"""Start training runs: POST /training/cyclegan, /cut and /stargan."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app.callers import Caller
from app.deps import CallerDep, Services, ServicesDep
from app.keyed_requests import RunIdDep
from app.routes import answers
from app.routes.fields import StartQuery
from app.run_requests import RunRequest
from app.training_schemas import CUTRequest, CycleGANRequest, Forecast, StarGANRequest, TrainingRun

router = APIRouter(prefix="/training", tags=["training"])

STARTED: answers.Responses = {
    200: {"description": "With `dry_run`: a forecast of the run.", "model": Forecast},
    202: {"description": "The run, queued. `Location` is its address.", "model": TrainingRun},
}


@router.post(
    "/cyclegan",
    status_code=202,
    summary="Train a CycleGAN",
    response_model=TrainingRun,
    responses={**STARTED, **answers.problems(404, 422, 503)},
)
async def train_cyclegan(
    services: ServicesDep, caller: CallerDep, request: CycleGANRequest, query: StartQuery, run_id: RunIdDep
) -> Response:
    """Train on two domains of unpaired pictures, with a generator for each direction. All defaults are the paper's."""
    return await services.starts.run(_start, services, caller, request, run_id, dry_run=query.dry_run)


@router.post(
    "/cut",
    status_code=202,
    summary="Train a CUT",
    response_model=TrainingRun,
    responses={**STARTED, **answers.problems(404, 422, 503)},
)
async def train_cut(
    services: ServicesDep, caller: CallerDep, request: CUTRequest, query: StartQuery, run_id: RunIdDep
) -> Response:
    """Train on two domains of unpaired pictures, with one generator for one `direction`. All defaults are the paper's.

    It trains faster than a CycleGAN. The model that is published from it is one of the family `cyclegan`.
    """
    return await services.starts.run(_start, services, caller, request, run_id, dry_run=query.dry_run)


@router.post(
    "/stargan",
    status_code=202,
    summary="Train a StarGAN v2",
    response_model=TrainingRun,
    responses={**STARTED, **answers.problems(404, 422, 503)},
)
async def train_stargan(
    services: ServicesDep, caller: CallerDep, request: StarGANRequest, query: StartQuery, run_id: RunIdDep
) -> Response:
    """Train on two or more domains, with one generator for all. All defaults are the paper's for faces.

    `w_hpf` above 0 preserves edges of the source: those of facial features (`masks=landmarks`), or all of them
    (`masks=ones`).
    """
    return await services.starts.run(_start, services, caller, request, run_id, dry_run=query.dry_run)


def _start(services: Services, caller: Caller, request: RunRequest, run_id: str | None, *, dry_run: bool) -> Response:
    [accepted] = services.runs.check([request], caller)
    if dry_run:
        return JSONResponse(accepted.forecast.model_dump(mode="json"), status_code=200)
    return _queued(services, services.runs.start(accepted, run_id))


def _queued(services: Services, run_id: str) -> Response:
    run = services.runs.view(run_id)
    return JSONResponse(run.model_dump(mode="json"), status_code=202, headers={"Location": run.links["self"]})
