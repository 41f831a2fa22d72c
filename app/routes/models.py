"""GET /models and /models/{name}; rollback; DELETE."""

from fastapi import APIRouter

from app.deps import Services, ServicesDep
from app.results import ALIVE_S
from app.routes import answers
from app.schemas import ModelInfo
from app.training_schemas import Published
from models.errors import Conflict, DoppelError
from models.store.catalog import Model

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", summary="All models", responses=answers.problems(503))
def list_models(services: ServicesDep) -> list[ModelInfo]:
    """The catalog as it is now: what each model does, under which licence, and whether its weights are here."""
    return _described(services, services.catalog.all())


@router.get("/{name}", summary="One model", responses=answers.problems(404, 503))
def read_model(services: ServicesDep, name: str) -> ModelInfo:
    return _described(services, [services.catalog.get(name)])[0]


@router.post("/{name}/rollback", summary="Go back to a model's version before", responses=answers.problems(404, 409))
def roll_back(services: ServicesDep, name: str) -> Published:
    """Put the version before the one in service into service, at once on every worker; it answers which it is now."""
    return Published(name=name, version=services.versions.roll_back(name))


@router.delete("/{name}", status_code=204, summary="Remove a published model", responses=answers.problems(404, 409))
def remove_model(services: ServicesDep, name: str) -> None:
    """Out of service at once on every worker, with all its versions. The run that it was published from stays."""
    if runs := services.runs.begun_from(name):
        raise Conflict(f"The runs {', '.join(runs)} start from {name!r}; stop them first.")
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
