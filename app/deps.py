"""What routes depend on, each as a named alias."""

from dataclasses import dataclass
from threading import Event, Semaphore
from typing import Annotated

from fastapi import Depends, Path, Request

from app.comparisons import Comparisons
from app.model_selection import ModelSelection
from app.results import Dispatcher
from app.settings import Settings
from app.training_runs import Runs
from app.training_schemas import TrainingRun
from app.uploads import Uploads
from models.errors import NotFound
from models.store.catalog import Catalog
from models.store.datasets import DatasetStore
from models.store.versions import Versions
from worker.contract import JobState
from worker.inference_queue import InferenceQueue
from worker.preparation_queue import PreparationQueue


@dataclass(frozen=True)
class Services:
    """What an application holds for as long as it runs."""

    settings: Settings
    catalog: Catalog
    selection: ModelSelection
    queue: InferenceQueue
    dispatcher: Dispatcher
    datasets: DatasetStore
    uploads: Uploads
    preparation: PreparationQueue
    runs: Runs
    comparisons: Comparisons
    versions: Versions
    ending: Event  # set when the server is told to end: streams end then, and their listeners come back
    codecs: Semaphore  # bounds the memory of pictures being read or written, which may be large ones all at once


async def _services(request: Request) -> Services:  # async: a plain function would cost a thread
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


def _job(services: ServicesDep, job_id: Annotated[str, Path(alias="id", max_length=64)]) -> JobState:
    state = services.queue.state(job_id)
    if state is None:
        raise NotFound(f"There is no job {job_id!r}, or it ended so long ago that it was forgotten.")
    return state


JobDep = Annotated[JobState, Depends(_job)]


def _run(services: ServicesDep, run_id: Annotated[str, Path(alias="id", max_length=64)]) -> TrainingRun:
    return services.runs.view(run_id)


RunDep = Annotated[TrainingRun, Depends(_run)]
