"""GET /models and /models/{name}."""

from fastapi import APIRouter

from app.deps import Services, ServicesDep
from app.errors import NotFound
from app.results import ALIVE_S
from app.routes import answers
from app.schemas import ModelInfo
from models.catalog import CatalogError, Model, UnknownModel

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", summary="All models", responses=answers.problems(503))
def list_models(services: ServicesDep) -> list[ModelInfo]:
    """The catalog as it is now: what each model does, under which licence, and whether its weights are here."""
    return _described(services, services.catalog.all())


@router.get("/{name}", summary="One model", responses=answers.problems(404, 503))
def read_model(services: ServicesDep, name: str) -> ModelInfo:
    try:
        model = services.catalog.get(name)
    except UnknownModel as error:
        raise NotFound(str(error)) from error
    return _described(services, [model])[0]


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
    except CatalogError:
        return None
