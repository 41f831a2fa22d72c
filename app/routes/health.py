"""GET /healthz and /readyz."""

from fastapi import APIRouter

from app.deps import ServicesDep
from app.results import ALIVE_S
from app.routes import answers
from app.schemas import Health
from models.errors import Unavailable

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is this process alive?")
async def healthz() -> Health:
    return Health()


@router.get("/readyz", summary="Can a picture be translated now?", responses=answers.problems(503))
def readyz(services: ServicesDep) -> Health:
    """OK when Redis answers and a worker is alive."""
    if not services.queue.workers(seen_within_s=ALIVE_S):
        raise Unavailable("No worker is alive.", retry_after_s=1)
    return Health()
