"""POST /training/cyclegan and /stargan; the runs, what can be seen of each, and what can be done with it."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app import curves
from app.deps import RunDep, Services, ServicesDep
from app.errors import NotReady
from app.routes import answers
from app.routes.fields import MannerQuery
from app.run_requests import RunRequest
from app.training_runs import UNREADABLE
from app.training_schemas import (
    CycleGANRequest,
    Forecast,
    Publication,
    Published,
    StarGANRequest,
    TrainingRun,
)
from models.errors import Conflict, Invalid, NotFound
from models.store.options import CycleGANOptions
from models.store.publication import publish
from models.store.run_folder import MetricsTail
from worker.errors import QueueUnreachable

POLL_S = 0.5
MAX_REPLAYED = 500  # metrics that are sent of the time before a listener came
MAX_LOG_BYTES = 1 << 20

router = APIRouter(prefix="/training", tags=["training"])

STARTED: answers.Responses = {
    200: {"description": "With `dry_run`: what the run would be.", "model": Forecast},
    202: {"description": "The run, queued. `Location` is where to look.", "model": TrainingRun},
}


@router.post(
    "/cyclegan",
    status_code=202,
    summary="Train a CycleGAN",
    response_model=TrainingRun,
    responses={**STARTED, **answers.problems(404, 422, 503)},
)
def train_cyclegan(services: ServicesDep, request: CycleGANRequest, manner: MannerQuery) -> Response:
    """Two domains of unpaired pictures, a generator for each direction. Every default is the paper's."""
    return _start(services, request, dry_run=manner.dry_run)


@router.post(
    "/stargan",
    status_code=202,
    summary="Train a StarGAN v2",
    response_model=TrainingRun,
    responses={**STARTED, **answers.problems(404, 422, 503)},
)
def train_stargan(services: ServicesDep, request: StarGANRequest, manner: MannerQuery) -> Response:
    """Two domains or more, one generator for all. Every default is the paper's for faces.

    `w_hpf` above 0 keeps the source's edges: of a face's features (`masks=landmarks`), or everywhere (`masks=ones`).
    """
    return _start(services, request, dry_run=manner.dry_run)


def _start(services: Services, request: RunRequest, *, dry_run: bool) -> Response:
    [accepted] = services.runs.check([request])
    if dry_run:
        return JSONResponse(accepted.forecast.model_dump(mode="json"), status_code=200)
    return _queued(services, services.runs.start(accepted))


def _queued(services: Services, run_id: str) -> Response:
    run = services.runs.view(run_id)
    return JSONResponse(run.model_dump(mode="json"), status_code=202, headers={"Location": run.links["self"]})


@router.get("", summary="All training runs", responses=answers.problems(503))
def list_runs(services: ServicesDep) -> list[TrainingRun]:
    """Newest first. They outlive the queue and every restart, until they are removed."""
    return services.runs.all()


@router.get("/{id}", summary="A training run", responses=answers.problems(404, 503))
def read_run(run: RunDep) -> TrainingRun:
    """Where it stands: step, pace, losses, rates, alarms, and what there is to see."""
    return run


@router.get(
    "/{id}/metrics",
    summary="A run's losses, step by step",
    response_class=JSONResponse,
    responses={200: {"content": {"application/json": {}, "text/csv": {}}}, **answers.problems(404, 422)},
)
def read_metrics(
    services: ServicesDep,
    run: RunDep,
    format: Annotated[Literal["json", "csv"], Query(description="a list of objects, or a table")] = "json",
    after_step: Annotated[int, Query(ge=0, description="only later steps")] = 0,
    points: Annotated[int, Query(ge=0, description="at most so many, evenly chosen; 0: every step")] = 1000,
) -> Response:
    records = list(services.runs.store.folder(run.id).metrics(after_step=after_step))
    records = curves.thinned(records, points) if points else records
    if format == "json":
        return JSONResponse(records)
    file = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record)) or ["step"]
    table = csv.DictWriter(file, names)
    table.writeheader()
    table.writerows(records)
    return Response(file.getvalue(), media_type="text/csv")


@router.get(
    "/{id}/curves.png",
    summary="A run's losses as curves",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **answers.problems(404, 409)},
)
def draw_curves(services: ServicesDep, run: RunDep) -> Response:
    if run.step == 0:
        raise NotReady("The run has made no step yet.")
    records = services.runs.store.folder(run.id).metrics()
    return Response(curves.draw(records, f"{run.family} on {run.dataset}"), media_type="image/png")


@router.get("/{id}/samples", summary="A run's sample pictures", responses=answers.problems(404))
def list_samples(run: RunDep) -> list[dict[str, Any]]:
    """On the same inputs all along: CycleGAN A, its B, back; B, its A, back. StarGAN v2 sources, and guide by guide."""
    return [_sample(run.id, step) for step in run.samples]


def _sample(run_id: str, step: int) -> dict[str, Any]:
    return {"step": step, "image": f"/training/{run_id}/samples/{step}"}


@router.get(
    "/{id}/samples/{step}",
    summary="A sample picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **answers.problems(404)},
)
def read_sample(services: ServicesDep, run: RunDep, step: int | Literal["last"]) -> Response:
    if not run.samples or (step != "last" and step not in run.samples):
        there = f"there are: {', '.join(map(str, run.samples))}" if run.samples else "there is none yet"
        raise NotFound(f"There is no such sample picture; {there}.")
    path = services.runs.store.folder(run.id).sample_path(run.samples[-1] if step == "last" else step)
    try:
        return Response(path.read_bytes(), media_type="image/png")
    except FileNotFoundError as error:
        raise NotFound("The picture is gone: the run was removed, or goes on from an earlier checkpoint.") from error


@router.get("/{id}/log", summary="A run's log", response_class=PlainTextResponse, responses=answers.problems(404))
def read_log(
    services: ServicesDep, run: RunDep, lines: Annotated[int, Query(ge=1, le=10_000, description="the last")] = 200
) -> str:
    """What its processes printed."""
    try:
        file = services.runs.store.folder(run.id).log_file.open("rb")
    except FileNotFoundError:
        return ""
    with file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - MAX_LOG_BYTES))
        text = file.read().decode(errors="replace")
    return "".join(text.splitlines(keepends=True)[-lines:])


@router.get(
    "/{id}/events",
    summary="A run's progress as server-sent events",
    response_class=EventSourceResponse,
    responses=answers.problems(404, 503),
)
async def read_events(
    services: ServicesDep,
    run: RunDep,
    last_event_id: Annotated[str | None, Header(description="step after which to go on")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """`metrics` (its id is the step), `sample`, `alarm`, `status`; the stream ends with the run.

    A listener that comes back with `Last-Event-ID` gets what it missed, thinned if that is much.
    """
    folder = services.runs.store.folder(run.id)
    known = re.fullmatch("[0-9]{1,15}", last_event_id or "")
    tail = MetricsTail(folder, after_step=int(known[0]) if known else 0)
    # Those of that very step may not have been sent yet.
    seen_samples = {step for step in run.samples if step < tail.step}
    seen_alarms = {(alarm.kind, alarm.subject, alarm.step) for alarm in run.alarms if alarm.step < tail.step}
    status: Any = None
    while True:
        try:
            run = await run_in_threadpool(services.runs.view, run.id)
            records = await run_in_threadpool(tail.read)
        except UNREADABLE:  # removed
            return
        except QueueUnreachable:  # it comes back, or the listener does
            if services.ending.is_set():
                return
            await asyncio.sleep(POLL_S)
            continue
        for record in curves.thinned(records, MAX_REPLAYED):
            yield ServerSentEvent(data=record, event="metrics", id=str(int(record["step"])))
        for alarm in run.alarms:
            if (key := (alarm.kind, alarm.subject, alarm.step)) not in seen_alarms:
                seen_alarms.add(key)
                yield ServerSentEvent(data=alarm, event="alarm")
        for step in run.samples:
            if step not in seen_samples:
                seen_samples.add(step)
                yield ServerSentEvent(data=_sample(run.id, step), event="sample")
        if (run.status, run.position, run.stopping) != status:
            status = (run.status, run.position, run.stopping)
            yield ServerSentEvent(data=run, event="status")
        if run.status.ended or services.ending.is_set():
            return
        await asyncio.sleep(POLL_S)


@router.post("/{id}/stop", status_code=202, summary="Stop a run", responses=answers.problems(404, 409, 503))
def stop_run(
    services: ServicesDep,
    run: RunDep,
    force: Annotated[bool, Query(description="end it at once; what came after its last checkpoint is lost")] = False,
) -> TrainingRun:
    """It saves a checkpoint at the end of the step in hand and ends as `stopped`; a queued one never begins."""
    services.runs.stop(run.id, force=force)
    return services.runs.view(run.id)


@router.post("/{id}/resume", status_code=202, summary="Resume a run", responses=answers.problems(404, 409, 503))
def resume_run(services: ServicesDep, run: RunDep) -> TrainingRun:
    """It goes on from its last checkpoint, exactly: on a CPU bit for bit as if it had never stopped."""
    services.runs.resume(run.id)
    return services.runs.view(run.id)


@router.delete("/{id}", status_code=204, summary="Remove a run", responses=answers.problems(404, 409, 503))
def remove_run(services: ServicesDep, id: Annotated[str, Path(max_length=64)]) -> None:
    """With all its checkpoints and pictures, once it has ended. Models that were published from it stay."""
    services.runs.remove(id)


@router.post(
    "/{id}/publish",
    status_code=201,
    summary="Put a run's generator into service",
    responses=answers.problems(404, 409, 422, 503),
)
def publish_run(services: ServicesDep, run: RunDep, asked: Publication, response: Response) -> Published:
    """The model is in `GET /models` and answers at once, on every worker. Published again it gets a new version."""
    folder = services.runs.store.folder(run.id)
    step = _step(run, asked.step)
    cyclegan = isinstance(folder.options(), CycleGANOptions)
    if asked.direction is not None and not cyclegan:
        raise Invalid("direction: a StarGAN v2 has one generator for all directions; leave it out.")
    told: dict[str, Any] = {
        "name": asked.name,
        "description": asked.description or f"Trained on {run.dataset}, {step or run.last_checkpoint} steps.",
        "licence": asked.licence or f"not stated; it depends on the pictures of the data set {run.dataset}",
        "source": f"training run {run.id} of this server",
    }
    try:
        card = services.versions.add(
            asked.name,
            lambda path, version: publish(
                folder,
                path,
                direction=(asked.direction or "AtoB") if cyclegan else None,
                step=step,
                version=version,
                **told,
            ),
        )
    except FileNotFoundError as error:
        raise Conflict("The checkpoint was dropped for a newer one just now; ask again.") from error
    response.headers["Location"] = f"/models/{asked.name}"
    assert card.version is not None
    return Published(name=card.name, version=card.version)


def _step(run: TrainingRun, asked: int | str) -> int | None:
    """The checkpoint's step; None for the newest."""
    if asked == "best":
        if run.best_checkpoint is None:
            raise Conflict(
                "No checkpoint was measured on held-out pictures yet, so none is the best; ask for the last."
            )
        return run.best_checkpoint
    return None if asked == "last" else int(asked)
