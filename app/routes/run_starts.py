"""Start training runs: POST /training/cyclegan, /cut and /stargan."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from app.deps import CallerDep, ServicesDep
from app.keyed_requests import RunIdDep
from app.routes import answers
from app.routes.fields import StartQuery
from app.run_requests import RunRequest
from app.training_schemas import CUTRequest, CycleGANRequest, Forecast, StarGANRequest, TrainingRun

router = APIRouter(prefix="/training", tags=["training"])

ANSWERS: dict[str, Any] = {
    "status_code": 202,
    "response_model": TrainingRun,
    "responses": {
        200: {"description": "With `dry_run`: a forecast of the run.", "model": Forecast},
        202: {"description": "The run, queued. `Location` is its address.", "model": TrainingRun},
        **answers.problems(404, 422, 503),
    },
}


class RunStart:
    """What a call that starts a run needs, whatever the family."""

    def __init__(self, services: ServicesDep, caller: CallerDep, query: StartQuery, run_id: RunIdDep) -> None:
        self._services = services
        self._caller = caller
        self._query = query
        self._run_id = run_id

    async def run(self, request: RunRequest) -> Response:
        """The answer to a request for a run: the run, queued; or a forecast, if that is what was asked for."""
        return await self._services.starts.run(self._start, request)

    def _start(self, request: RunRequest) -> Response:
        [accepted] = self._services.runs.check([request], self._caller)
        if self._query.dry_run:
            return JSONResponse(accepted.forecast.model_dump(mode="json"), status_code=200)
        run = self._services.runs.view(self._services.runs.start(accepted, self._run_id))
        return JSONResponse(run.model_dump(mode="json"), status_code=202, headers={"Location": run.links["self"]})


RunStartDep = Annotated[RunStart, Depends()]


@router.post("/cyclegan", summary="Train a CycleGAN", **ANSWERS)
async def train_cyclegan(start: RunStartDep, request: CycleGANRequest) -> Response:
    """Train on two domains of unpaired pictures, with a generator for each direction. All defaults are the paper's."""
    return await start.run(request)


@router.post("/cut", summary="Train a CUT", **ANSWERS)
async def train_cut(start: RunStartDep, request: CUTRequest) -> Response:
    """Train on two domains of unpaired pictures, with one generator for one `direction`. All defaults are the paper's.

    It trains faster than a CycleGAN. The model that is published from it is one of the family `cyclegan`.
    """
    return await start.run(request)


@router.post("/stargan", summary="Train a StarGAN v2", **ANSWERS)
async def train_stargan(start: RunStartDep, request: StarGANRequest) -> Response:
    """Train on two or more domains, with one generator for all. All defaults are the paper's for faces.

    `w_hpf` above 0 preserves edges of the source: those of facial features (`masks=landmarks`), or all of them
    (`masks=ones`).
    """
    return await start.run(request)
