"""Training runs: read, follow, stop, resume, publish and remove them. `run_starts.py` starts them."""

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app import curves
from app.addresses import address
from app.deps import CallerDep, OwnRunId, RunDep, ServicesDep
from app.errors import NotReady
from app.kept_files import kept_file
from app.keyed_requests import RequestIdDep
from app.routes import answers
from app.run_views import UNREADABLE
from app.training_schemas import Publication, Published, ResumeRequest, TrainingRun
from models.errors import Conflict, Invalid, NotFound
from models.store.options import CycleGANOptions
from models.store.publication import publish
from models.store.samples import PlacedRow, read_rows
from worker.errors import QueueUnreachable

POLL_S = 0.5
MAX_REPLAYED = 250  # metrics sent at most at once, after a client connects
MAX_LOG_BYTES = 1 << 20
MAX_RECORDS = 5000  # steps in one answer
MAX_RUNS = 200  # on a page

router = APIRouter(prefix="/training", tags=["training"])

METRICS = {
    "description": "An object or a row for each step that was asked for, in their order.",
    "content": {
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
        "text/csv": {"schema": {"type": "string"}},
    },
    "headers": {
        "X-Steps": {"description": "the last step that is recorded", "schema": {"type": "integer"}},
        "X-Every": {
            "description": "the answer holds every n-th step: 1, or more if there were more steps than `points`",
            "schema": {"type": "integer"},
        },
        "Link": {
            "description": 'with `points=0`: the next page, as `<...>; rel="next"`, if there is one',
            "schema": {"type": "string"},
        },
    },
}


@router.get(
    "", summary="List the training runs", responses={200: answers.page("The runs."), **answers.problems(404, 422, 503)}
)
def list_runs(
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    limit: Annotated[
        int | None, Query(ge=1, le=MAX_RUNS, description="runs on a page; without it all runs are listed")
    ] = None,
    before: Annotated[
        str | None, Query(max_length=64, description="only runs that are older than this one, by its id")
    ] = None,
) -> list[TrainingRun]:
    """The runs, newest first; where there are API keys, your own.

    They survive restarts and the loss of the queue, until they are removed.
    With a `limit`, `Link` leads to the next page. A run that can't be read is left out.
    """
    runs, last = services.runs.newest(caller, limit=limit, before=before)
    if last is not None:
        response.headers["Link"] = f'<{address("/training")}?limit={limit}&before={last}>; rel="next"'
    return runs


@router.get("/{id}", summary="Read a training run", responses=answers.problems(404, 503))
def read_run(run: RunDep) -> TrainingRun:
    """The run's present state: step, speed, losses, learning rate, alarms, checkpoints and samples."""
    return run


@router.get(
    "/{id}/metrics",
    summary="Read a run's metrics",
    response_class=JSONResponse,
    responses={200: METRICS, **answers.problems(404, 422)},
)
def read_run_metrics(
    services: ServicesDep,
    run: RunDep,
    format: Annotated[Literal["json", "csv"], Query(description="a list of objects, or a table")] = "json",
    after_step: Annotated[int, Query(ge=0, description="leave out this step and those before it")] = 0,
    points: Annotated[
        int,
        Query(ge=0, le=MAX_RECORDS, description="at most this many steps, evenly spaced; 0: every step, page by page"),
    ] = 1000,
    limit: Annotated[int, Query(ge=1, le=MAX_RECORDS, description="with `points=0`: steps on a page")] = MAX_RECORDS,
) -> Response:
    """The losses of each recorded step, or of every n-th one if there are more than `points`; `X-Every` is that n.

    To read all steps of a long run, send `points=0` and follow the `Link` header from page to page.
    """
    recorded = services.runs.store.folder(run.id).recorded
    last_step = recorded.last_step()
    headers = {"X-Steps": str(last_step), "X-Every": "1"}
    if points:
        records = recorded.thinned(after_step=after_step, points=points)
        if len(records) > 1:
            headers["X-Every"] = str(int(records[-1]["step"] - records[-2]["step"]))
    else:
        records = list(recorded.read(after_step=after_step, at_most=limit))
        if records and records[-1]["step"] < last_step:
            next_page = f"?format={format}&points=0&limit={limit}&after_step={int(records[-1]['step'])}"
            headers["Link"] = f'<{run.links["metrics"]}{next_page}>; rel="next"'
    if format == "json":
        return JSONResponse(records, headers=headers)
    file = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record)) or ["step"]
    table = csv.DictWriter(file, names)
    table.writeheader()
    table.writerows(records)
    return Response(file.getvalue(), media_type="text/csv", headers=headers)


@router.get(
    "/{id}/curves.png",
    summary="Plot a run's losses",
    response_class=Response,
    responses={200: answers.file("The plot.", "image/png"), **answers.problems(404, 409)},
)
def plot_run_curves(services: ServicesDep, run: RunDep) -> Response:
    """The losses as curves, of some hundred steps that are spaced evenly over the run."""
    records = services.runs.store.folder(run.id).recorded.thinned(points=curves.POINTS)
    if not records:
        raise NotReady("The run has not finished a step yet.")
    return Response(curves.draw(records, f"{run.family} on {run.dataset}"), media_type="image/png")


@router.get("/{id}/samples", summary="List a run's sample pictures", responses=answers.problems(404))
def list_run_samples(run: RunDep) -> list[dict[str, Any]]:
    """The steps that have a sample picture, and its address. All samples of a run use the same inputs.

    A CycleGAN sample shows A, its translation to B and back, then B, its translation to A and back. A CUT sample shows
    sources and their translation, a StarGAN v2 sample the sources, then a row for each style.
    """
    return [_sample(run.id, step) for step in run.samples]


def _sample(run_id: str, step: int) -> dict[str, Any]:
    return {"step": step, "image": address(f"/training/{run_id}/samples/{step}")}


@router.get(
    "/{id}/samples/{step}",
    summary="Get a run's sample picture",
    response_class=Response,
    responses={200: answers.file("The picture.", "image/png"), **answers.problems(404)},
)
def read_run_sample(request: Request, services: ServicesDep, run: RunDep, step: int | Literal["last"]) -> Response:
    """The sample picture of a step, or of the `last` step that has one."""
    path = services.runs.store.folder(run.id).sample_path(_sample_step(run, step))
    try:
        return kept_file(request, path, "image/png")
    except FileNotFoundError as error:
        raise NotFound("The picture was deleted: the run was removed or resumed from an earlier checkpoint.") from error


def _sample_step(run: TrainingRun, step: int | Literal["last"]) -> int:
    if not run.samples or (step != "last" and step not in run.samples):
        there = f"samples exist for: {', '.join(map(str, run.samples))}" if run.samples else "there are none yet"
        raise NotFound(f"There is no sample picture of step {step}; {there}.")
    return run.samples[-1] if step == "last" else step


@router.get(
    "/{id}/samples/{step}/rows",
    summary="Read what is on a run's sample picture",
    responses=answers.problems(404),
)
def read_run_sample_rows(services: ServicesDep, run: RunDep, step: int | Literal["last"]) -> list[PlacedRow]:
    """The rows from top to bottom: what each shows, and the boxes of its cells in px: left, top, right, bottom."""
    path = services.runs.store.folder(run.id).sample_path(_sample_step(run, step))
    try:
        return read_rows(path)
    except FileNotFoundError as error:
        raise NotFound("Nothing describes this picture: it is gone, or was made by an earlier version.") from error


@router.get("/{id}/log", summary="Read a run's log", response_class=PlainTextResponse, responses=answers.problems(404))
def read_run_log(
    services: ServicesDep,
    run: RunDep,
    lines: Annotated[int, Query(ge=1, le=10_000, description="number of last lines")] = 200,
) -> str:
    """The last lines that the run's processes printed."""
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
    summary="Follow a run by server-sent events",
    response_class=EventSourceResponse,
    responses={200: answers.events("The events. The `data` of each is JSON."), **answers.problems(404, 503)},
)
async def read_run_events(
    services: ServicesDep,
    run: RunDep,
    last_event_id: Annotated[str | None, Header(description="step after which to continue")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Sends events `metrics` (whose id is the step), `sample`, `alarm` and `status`. The stream ends when the run ends.

    A client that reconnects with `Last-Event-ID` gets the events it missed, or an evenly spaced part of them if there
    are many.
    """
    folder = services.runs.store.folder(run.id)
    known = re.fullmatch("[0-9]{1,15}", last_event_id or "")
    sent_step = int(known[0]) if known else 0
    # Those of the last step that was sent may be missing.
    seen_samples = {step for step in run.samples if step < sent_step}
    seen_alarms = {(alarm.kind, alarm.subject, alarm.step) for alarm in run.alarms if alarm.step < sent_step}
    status: Any = None
    while True:
        try:
            run = await run_in_threadpool(services.runs.view, run.id)
            records = await run_in_threadpool(folder.recorded.thinned, after_step=sent_step, points=MAX_REPLAYED)
        except UNREADABLE:  # removed
            return
        except QueueUnreachable:  # wait until Redis is back; clients reconnect if the server stops
            if services.ending.is_set():
                return
            await asyncio.sleep(POLL_S)
            continue
        for record in records:
            sent_step = int(record["step"])  # a resumed run repeats steps, which are not sent again
            # Encoded here: FastAPI's own encoder takes several times as long, for hundreds of events.
            yield ServerSentEvent(raw_data=json.dumps(record), event="metrics", id=str(sent_step))
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
    force: Annotated[
        bool, Query(description="end the run at once and lose the steps after its last checkpoint")
    ] = False,
) -> TrainingRun:
    """A running run finishes its step, saves a checkpoint and ends as `stopped`. A queued run does not start."""
    services.runs.stop(run.id, force=force)
    return services.runs.view(run.id)


@router.post(
    "/{id}/resume",
    status_code=202,
    summary="Resume a run, or train it further",
    responses=answers.problems(404, 409, 422, 503),
)
def resume_run(
    services: ServicesDep, caller: CallerDep, run: RunDep, request: ResumeRequest | None = None
) -> TrainingRun:
    """Continue exactly from the last checkpoint. On a CPU the result is bit for bit that of an uninterrupted run.

    Send a new length to train a run further, even one that is complete. Its weights, optimizers and image pools go on
    as they are; the learning rate of each step is the one that the new options give it. `changes` in the run keeps
    what was changed. The data set must have the same pictures, wherever it is.
    """
    services.runs.resume(run.id, request or ResumeRequest(), caller)
    return services.runs.view(run.id)


@router.delete("/{id}", status_code=204, summary="Remove a run", responses=answers.problems(404, 409, 503))
def remove_run(services: ServicesDep, run_id: OwnRunId) -> None:
    """Delete the run with all its checkpoints and pictures. It must have ended. Models published from it are kept."""
    services.runs.remove(run_id)


@router.post(
    "/{id}/publish",
    status_code=201,
    summary="Publish a run's generator as a model",
    responses=answers.problems(404, 409, 422, 503),
)
def publish_run(
    services: ServicesDep,
    caller: CallerDep,
    run: RunDep,
    asked: Publication,
    response: Response,
    request_id: RequestIdDep,
) -> Published:
    """Put the generator into service, at once on every worker. Publishing under the same name again adds a version."""
    services.settings.room.require()
    folder = services.runs.store.folder(run.id)
    step = _step(run, asked.step)
    cyclegan = isinstance(folder.options(), CycleGANOptions)
    if asked.direction is not None and not cyclegan:
        raise Invalid("direction: this run has one generator; leave it out.")
    card_fields: dict[str, Any] = {
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
                **card_fields,
            ),
            owner=caller.name,
            is_ours=caller.sees,
            request=request_id,
        )
    except FileNotFoundError as error:
        raise Conflict("The checkpoint was dropped for a newer one just now; ask again.") from error
    response.headers["Location"] = address(f"/models/{asked.name}")
    assert card.version is not None
    return Published(name=card.name, version=card.version)


def _step(run: TrainingRun, asked: int | str) -> int | None:
    """The checkpoint's step; None for the newest."""
    if asked == "best":
        if run.best_checkpoint is None:
            raise Conflict("No checkpoint has a score on held-out pictures yet, so none is the best; ask for the last.")
        return run.best_checkpoint
    return None if asked == "last" else int(asked)
