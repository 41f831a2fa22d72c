"""GET /healthz and /readyz."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from app.deps import ServicesDep
from app.routes import answers
from app.schemas import Health
from app.waiting import ALIVE_S
from models.errors import Unavailable

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Check that the API is alive")
async def check_alive() -> Health:
    """Always OK while this process answers."""
    return Health()


@router.get("/readyz", summary="Check that a picture can be translated now", responses=answers.problems(503))
async def check_ready(services: ServicesDep) -> Health:
    """OK if Redis answers, at least one worker is alive, and there is a model whose weights are here."""
    if not await services.jobs.workers(seen_within_s=ALIVE_S):
        raise Unavailable("No worker is alive.", retry_after_s=1)
    if not await run_in_threadpool(services.catalog.can_run_any):
        raise Unavailable(
            "No model can run, since there are no weights. The operator gets some with: doppel pull style_monet",
            retry_after_s=60,
        )
    return Health()
