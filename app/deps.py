"""Dependencies of the routes, each under a named alias."""

import re
from dataclasses import dataclass
from threading import Event
from typing import Annotated

from fastapi import Depends, Path, Request

from app.callers import Caller, caller_of
from app.comparisons import Comparisons
from app.credentials import Credentials
from app.keys import KeyRing
from app.model_selection import ModelSelection
from app.recent import Recent
from app.rendering import RecentVideos
from app.settings import Settings
from app.status_schemas import ServerStatus
from app.training_runs import Runs
from app.training_schemas import TrainingRun
from app.turns import Turns
from app.uploads import Uploads
from app.waiting import Dispatcher
from app.webhooks import Webhooks
from models.errors import Invalid, NotFound, UnknownRun
from models.store.catalog import Catalog
from models.store.datasets import DatasetStore
from models.store.versions import Versions
from worker.async_inference_queue import AsyncInferenceQueue
from worker.contract import JobState
from worker.inference_queue import InferenceQueue
from worker.meters import Meter
from worker.preparation_queue import PreparationQueue
from worker.tracer import Tracer

CLIENT_HEADER = "X-Client"
CLIENT_NAME = r"^[A-Za-z0-9_-]{16,64}$"


@dataclass(frozen=True)
class Services:
    """Objects that live as long as the application."""

    settings: Settings
    catalog: Catalog
    selection: ModelSelection
    queue: InferenceQueue  # for what is asked in threads
    jobs: AsyncInferenceQueue  # the same queue, for the event loop
    dispatcher: Dispatcher
    datasets: DatasetStore
    uploads: Uploads
    preparation: PreparationQueue
    runs: Runs
    comparisons: Comparisons
    versions: Versions
    ring: KeyRing | None  # None: no API keys
    ending: Event  # set when the server shuts down: event streams end, and their clients reconnect later
    recent_videos: RecentVideos
    status: Recent[ServerStatus]
    credentials: Credentials
    webhooks: Webhooks
    meter: Meter
    tracer: Tracer
    codecs: Turns  # to decode uploads
    encoders: Turns  # to encode results, which were waited for and are not refused
    starts: Turns  # of training runs, which wait for the preparer and read whole data sets


async def _services(request: Request) -> Services:  # async, because FastAPI runs a plain function in a thread
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


def list_name(caller: Caller, client: str | None) -> str | None:
    """The name under which jobs are listed; None: they are in no list.

    Args:
        client: None: all jobs of the caller's API key.
    """
    return client if caller.name is None else f"{caller.name}:{client or ''}"


def client_of(request: Request) -> str | None:
    """The name under which the client of this request can list its jobs later; None if it sent none.

    Different API keys have different clients of one name.

    Raises:
        Invalid: it is not of the form ``CLIENT_NAME``.
    """
    name = request.headers.get(CLIENT_HEADER)
    if name is not None and not re.match(CLIENT_NAME, name):
        raise Invalid(f"{CLIENT_HEADER}: 16 to 64 letters, digits, '-' and '_' are accepted, drawn at random.")
    return None if name is None else list_name(caller_of(request), name)


async def _caller(request: Request) -> Caller:
    return caller_of(request)


CallerDep = Annotated[Caller, Depends(_caller)]


async def _job(
    services: ServicesDep, caller: CallerDep, job_id: Annotated[str, Path(alias="id", max_length=64)]
) -> JobState:
    state = await services.jobs.state(job_id)
    # A fetch of weights is everybody's who has asked for the model.
    if state is None or not (caller.sees(state.owner) or state.kind == "fetch"):
        raise NotFound(f"There is no job {job_id!r}, or it ended so long ago that its record was deleted.")
    return state


JobDep = Annotated[JobState, Depends(_job)]


def _run_id(services: ServicesDep, caller: CallerDep, run_id: Annotated[str, Path(alias="id", max_length=64)]) -> str:
    if not services.runs.is_seen(run_id, caller):
        raise UnknownRun(run_id)
    return run_id


OwnRunId = Annotated[str, Depends(_run_id)]  # of a run that may be damaged


def _run(services: ServicesDep, run_id: OwnRunId) -> TrainingRun:
    return services.runs.view(run_id)


RunDep = Annotated[TrainingRun, Depends(_run)]
