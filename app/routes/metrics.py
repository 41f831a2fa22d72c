"""GET /metrics."""

import contextlib
from collections import Counter as Tally
from typing import Annotated, cast

from fastapi import APIRouter, Header, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry
from redis.exceptions import OutOfMemoryError
from starlette.concurrency import run_in_threadpool

from app.collector import Figures, FiguresCollector, Training
from app.deps import Services, ServicesDep
from app.routes.status import server_status
from models.errors import RunFolderError, UnknownRun
from models.store.run_status import RunState
from worker import contract
from worker.errors import QueueUnreachable
from worker.inference_queue import translating_errors
from worker.meters import read_totals

router = APIRouter(tags=["health"])

SCRAPE = {
    "description": "The figures, in Prometheus' text format or, for who asks for it, OpenMetrics.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


@router.get("/metrics", summary="Read what Prometheus scrapes", response_class=Response, responses={200: SCRAPE})
async def read_metrics(services: ServicesDep, accept: Annotated[str | None, Header()] = None) -> Response:
    """Queues, times of each stage, pictures by model, memory, rejections, training: the same from every API process.

    While Redis can't be reached, `doppel_redis_up` is 0 and nothing else is shown.
    """
    return await run_in_threadpool(_scrape, services, accept)


def _scrape(services: Services, accept: str | None) -> Response:
    registry = CollectorRegistry(auto_describe=False)
    try:
        registry.register(FiguresCollector(_figures(services)))
    except QueueUnreachable:
        registry.register(FiguresCollector(None))
    encode, media_type = choose_encoder(accept or "")
    return Response(encode(registry), headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def _figures(services: Services) -> Figures:
    connection = services.queue.connection
    with translating_errors():
        with (  # what this process has just counted belongs to the answer, unless Redis has no room for it now
            contextlib.suppress(OutOfMemoryError),
            connection.pipeline(transaction=False) as pipe,
            services.meter.added_by(pipe),
        ):
            pipe.execute()
        fields = cast(dict[bytes, bytes], connection.hgetall(contract.METERS))
        hooks = connection.zcard(contract.HOOKS_DUE)
    status = server_status(services)
    runs, trainings = _training(services)
    models = {model.name for model in services.catalog.all()}
    return Figures(status, read_totals(fields), models, runs, hooks, trainings)


def _training(services: Services) -> tuple[Tally[RunState], list[Training]]:
    """How many runs there are of each state, and those under way."""
    runs, trainings = Tally[RunState](), []
    for run_id, written in services.runs.store.statuses():
        with contextlib.suppress(UnknownRun, RunFolderError):  # removed meanwhile
            status = written if written.status.ended else services.runs.status(run_id)
            runs[status.status] += 1
            if status.status is RunState.RUNNING:
                batch = services.runs.store.folder(run_id).options().batch_size
                rate = None if status.images_per_s is None else status.images_per_s / batch
                trainings.append(Training(run_id, status.step, status.total_steps, rate, status.gpu_memory_mb))
    return runs, trainings
