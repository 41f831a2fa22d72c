"""Start training runs: POST /training/cyclegan, /cut and /stargan."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from app.callers import Caller
from app.deps import CallerDep, Services, ServicesDep
from app.keyed_requests import RunIdDep
from app.routes import answers
from app.routes.fields import StartParameters, StartQuery
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


@dataclass(frozen=True)
class RunStart:
    """What a call that starts a run needs, whatever the family."""

    services: Services
    caller: Caller
    query: StartParameters
    run_id: str | None

    async def run(self, request: RunRequest) -> Response:
        """The answer to a request for a run: the run, queued; or a forecast, if that is what was asked for."""
        return await self.services.starts.run(self._start, request)

    def _start(self, request: RunRequest) -> Response:
        [accepted] = self.services.runs.check([request], self.caller)
        if self.query.dry_run:
            return JSONResponse(accepted.forecast.model_dump(mode="json"), status_code=200)
        run = self.services.runs.view(self.services.runs.start(accepted, self.run_id))
        return JSONResponse(run.model_dump(mode="json"), status_code=202, headers={"Location": run.links["self"]})


# The class itself would do as a dependency, but FastAPI calls what is not async in a thread.
async def _run_start(services: ServicesDep, caller: CallerDep, query: StartQuery, run_id: RunIdDep) -> RunStart:
    return RunStart(services, caller, query, run_id)


RunStartDep = Annotated[RunStart, Depends(_run_start)]


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
