"""GET /healthz and /readyz."""

from fastapi import APIRouter

from app.deps import ServicesDep
from app.results import ALIVE_S
from app.routes import answers
from app.schemas import Health
from models.errors import Unavailable

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Check that the API is alive")
async def check_alive() -> Health:
    """Always OK while this process answers."""
    return Health()


@router.get("/readyz", summary="Check that a picture can be translated now", responses=answers.problems(503))
def check_ready(services: ServicesDep) -> Health:
    """OK if Redis answers and at least one worker is alive."""
    if not services.queue.workers(seen_within_s=ALIVE_S):
        raise Unavailable("No worker is alive.", retry_after_s=1)
    return Health()
