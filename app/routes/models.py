"""GET /models and /models/{name}; roll back; DELETE."""

from fastapi import APIRouter

from app.deps import Services, ServicesDep
from app.results import ALIVE_S
from app.routes import answers
from app.schemas import ModelInfo
from app.training_schemas import Published
from models.errors import Conflict, DoppelError
from models.store.catalog import Model

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", summary="List the models", responses=answers.problems(503))
def list_models(services: ServicesDep) -> list[ModelInfo]:
    """All models: what each does, its licence, and whether its weights are on this server."""
    return _described(services, services.catalog.all())


@router.get("/{name}", summary="Read a model", responses=answers.problems(404, 503))
def read_model(services: ServicesDep, name: str) -> ModelInfo:
    """What the model does, its licence, and whether its weights are on this server."""
    return _described(services, [services.catalog.get(name)])[0]


@router.post("/{name}/rollback", summary="Roll a model back", responses=answers.problems(404, 409))
def roll_back_model(services: ServicesDep, name: str) -> Published:
    """Put the previous version of a published model back into service, at once on every worker, and name it."""
    return Published(name=name, version=services.versions.roll_back(name))


@router.delete("/{name}", status_code=204, summary="Remove a published model", responses=answers.problems(404, 409))
def remove_model(services: ServicesDep, name: str) -> None:
    """Take the model out of service, at once on every worker, and delete all its versions. Its training run is kept."""
    if runs := services.runs.begun_from(name):
        raise Conflict(f"The runs {', '.join(runs)} start from the model {name!r}; stop them first.")
    services.versions.remove(name)


def _described(services: Services, models: list[Model]) -> list[ModelInfo]:
    workers = services.queue.workers(seen_within_s=ALIVE_S)
    return [
        ModelInfo.of(
            model,
            runs_as=_runs_as(services, model),
            loaded_on=[worker.name for worker in workers if model.name in worker.loaded],
        )
        for model in models
    ]


def _runs_as(services: Services, model: Model) -> str | None:
    try:
        return services.catalog.resolve(model.name).name
    except DoppelError:
        return None
