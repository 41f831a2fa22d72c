"""What routes depend on, each as a named alias."""

from dataclasses import dataclass
from threading import Semaphore
from typing import Annotated

from fastapi import Depends, Path, Request

from app.errors import NotFound
from app.results import Dispatcher
from app.selection import ModelSelection
from app.settings import Settings
from models.catalog import Catalog
from worker.contract import JobState
from worker.queue import InferenceQueue


@dataclass(frozen=True)
class Services:
    """What an application holds for as long as it runs."""

    settings: Settings
    catalog: Catalog
    selection: ModelSelection
    queue: InferenceQueue
    dispatcher: Dispatcher
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
