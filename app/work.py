"""From an order to its answer: settle, decode, queue, wait, and say how it ended."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from app import images
from app.deps import Services
from app.errors import BadPicture, NotReady
from app.faces import cut_out
from app.guidance import Wish
from app.images import Geometry
from app.negotiation import JSON
from app.rendering import render
from app.results import Events, ended
from app.schemas import Job
from models.errors import Conflict, Invalid, Unavailable
from models.store.catalog import Model
from worker.contract import LONG_KINDS, FailureCode, JobEvent, JobState, Kind, Layout, Status, StyleGuide, Task
from worker.inference_queue import new_job_id

PHOTO = Geometry(at_most=1024)  # enough for a face that is a small part of it
MAX_RESULT_BYTES = 96 << 20  # of one job, before compression: it lies in Redis for a while
MAX_LAID_OUT = 16_000  # px of a result's longer side, a little less than WebP and H.264 can hold
NO_WORKER_S = 30  # without any worker; a restart takes less


@dataclass(frozen=True)
class Order:
    """What a client wants done, once every field of its request was found acceptable."""

    model: Model  # that runs
    images: list[bytes]  # as uploaded
    geometry: Geometry  # of the images
    guides: list[StyleGuide] = field(default_factory=list)  # of StarGAN models
    references: list[bytes] = field(default_factory=list)  # as uploaded, one for each guide that needs one
    kind: Kind = "translation"
    align: bool = False  # all are photos, of which the face is wanted
    frames: int = 0  # of a video, from one style to the next
    fps: int = 0  # frames a second, of a video

    @property
    def layout(self) -> Layout | None:
        """Of the result, if it is of several pictures."""
        if self.kind not in LONG_KINDS:
            return None
        return Layout(sources=len(self.images), references=len(self.references), fps=self.fps)


def stargan_order(
    model: Model, images: list[bytes], geometry: Geometry, wishes: list[Wish], *, align: bool, **more: Any
) -> Order:
    """The order for a StarGAN model; faces are aligned if its card says so and the client does not object.

    Args:
        more: further fields of the order.

    Raises:
        Invalid: a wish is not acceptable to this model.
    """
    return Order(
        model,
        images,
        _stargan_geometry(model, geometry),
        [wish.guide(model) for wish in wishes],
        [wish.reference for wish in wishes if wish.reference is not None],
        align=align and model.card.align == "face",
        **more,
    )


def _stargan_geometry(model: Model, geometry: Geometry) -> Geometry:
    """The shape in which a StarGAN model gets its sources."""
    card = model.card
    # A face that is taken as it is must still fill the one shape that the landmark network reads.
    if card.align == "face":
        return Geometry.squeezed(card.image_size)
    return replace(geometry, resolution=geometry.resolution or card.image_size, multiple=card.side_multiple)


@dataclass(frozen=True)
class Ended:
    """A job that was waited for, and how it ended; ``event`` is None if it has not within the wait."""

    job_id: str
    event: JobEvent | None
    notes: list[str]  # what was done with the pictures that their owner should know


def require_worker(services: Services) -> None:
    """Refuse to take work that nobody would do.

    Raises:
        Unavailable: no worker was heard of for a while.
    """
    if services.dispatcher.no_worker_for_s > NO_WORKER_S:
        raise Unavailable(f"No worker was heard of for {NO_WORKER_S} s. The operator starts one with: doppel worker")


async def carry_out(request: Request, services: Services, order: Order, wait_s: float) -> Ended:
    """Queue the order and wait for its end. A client that goes away takes its job with it."""
    job_id = new_job_id()
    with services.dispatcher.watching(job_id) as events:
        notes = await run_in_threadpool(_submit, services, job_id, order)
        event = await outcome_of(request, services, job_id, events, wait_s) if wait_s else None
    return Ended(job_id, event, notes)


def _submit(services: Services, job_id: str, order: Order) -> list[str]:
    started = time.perf_counter()
    squeezed = Geometry.squeezed(order.model.card.image_size)
    source = "source" if order.kind in LONG_KINDS else "image"
    uploads = [(_named(source, n, order.images), data, order.geometry) for n, data in enumerate(order.images)]
    uploads += [(_named("reference", n, order.references), data, squeezed) for n, data in enumerate(order.references)]
    pictures, notes = [], []
    for what, data, geometry in uploads:
        try:
            picture = _decode(services, data, PHOTO if order.align else geometry)
        except BadPicture as error:
            raise BadPicture(f"{what}: {error}" if len(uploads) > 1 else str(error)) from error
        if order.align:
            with services.codecs:
                picture, remark = cut_out(picture, what=what)
            notes += [remark] if remark else []
        pictures.append(picture)
    decode_ms = round((time.perf_counter() - started) * 1000, 1)
    shapes = {picture.shape[:2] for picture in pictures[: len(order.images)]}
    if len(shapes) > 1:
        raise Invalid("The sources come out in different shapes, and are laid side by side: name a resolution.")
    # Cut-out faces have room about them; what comes out has not.
    side = order.model.card.image_size
    height, width = (side, side) if order.align else shapes.pop()
    _check_grid(order, height, width)
    task = Task(
        kind=order.kind,
        model=order.model.name,
        height=height,
        width=width,
        sources=len(order.images),
        guides=order.guides,
        frames=order.frames,
        align=order.align,
    )
    if task.result_bytes > MAX_RESULT_BYTES:
        raise Invalid(
            f"The result would be {task.cells} pictures of {width} × {height}, {task.result_bytes >> 20} MB before "
            f"compression; at most {MAX_RESULT_BYTES >> 20} MB are made at once. Ask for fewer sources, styles or "
            "frames, or a smaller resolution."
        )
    services.queue.submit(task, *pictures, decode_ms=decode_ms, job_id=job_id, notes=notes, layout=order.layout)
    return notes


def _check_grid(order: Order, height: int, width: int) -> None:
    """Refuse what no file could hold when it is laid out."""
    across = width * (len(order.images) + 1) if order.kind == "grid" else width * len(order.images)
    down = height * (len(order.guides) + 1) if order.kind == "grid" else height
    if max(across, down) > MAX_LAID_OUT:
        raise Invalid(
            f"The result would be {across} × {down} px; sides of at most {MAX_LAID_OUT} px are made. Ask for a smaller "
            "resolution."
        )


def _named(field_name: str, n: int, uploads: list[bytes]) -> str:
    return f"{field_name} {n + 1}" if len(uploads) > 1 else field_name


def _decode(services: Services, data: bytes, geometry: Geometry) -> images.Picture:
    settings = services.settings
    with services.codecs:
        return images.decode(
            data, geometry, max_pixels=settings.max_pixels, max_output_pixels=settings.max_output_pixels
        )


async def outcome_of(
    request: Request, services: Services, job_id: str, events: Events, wait_s: float
) -> JobEvent | None:
    """How the job ended; None if it has not within ``wait_s``. A client that goes away takes its job with it."""
    outcome = asyncio.ensure_future(ended(events))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({outcome, gone}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if outcome.done():
            return outcome.result()
        if gone.done():
            await run_in_threadpool(services.queue.cancel, job_id)
        return None
    finally:
        outcome.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def answer(services: Services, order: Order, done: Ended, media_type: str) -> Response:
    """The picture if there is one and the client wants it, else the job."""
    if done.event is not None and done.event.status is Status.SUCCEEDED and media_type != JSON:
        return await run_in_threadpool(_picture_answer, services, order, done.event, done.notes, media_type)
    return await run_in_threadpool(job_answer, services, done)


def job_answer(services: Services, done: Ended) -> Response:
    """The job: with 202 while its end was not waited for, whatever has become of it since."""
    waited = done.event is not None
    state: JobState | None = services.queue.state(done.job_id)
    if state is None:
        raise Unavailable("The queue lost this job. Send it again.")
    if waited and state.status is Status.CANCELED:
        raise NotReady("The job was canceled while it was waited for.")
    if waited and state.error is not None and state.error.code is FailureCode.MODEL_REMOVED:
        raise Conflict(state.error.detail)
    status = {Status.SUCCEEDED: 200, Status.FAILED: 500}.get(state.status, 202) if waited else 202
    job = Job.of(state)
    headers = {"X-Job-Id": state.id, "X-Model": state.model, "Location": job.links.self, "Vary": "Accept"}
    return Response(job.model_dump_json(), status_code=status, headers=headers, media_type=JSON)


def _picture_answer(services: Services, order: Order, event: JobEvent, notes: list[str], media_type: str) -> Response:
    result = services.queue.result(event.id)
    if result is None:
        raise Unavailable("The result was lost before it could be delivered. Send the picture again.")
    services.dispatcher.delivered(event.id)
    started = time.perf_counter()
    with services.codecs:
        body = render(result, order.kind, order.layout, media_type)
    timings = event.timings
    stages = {
        "decode": timings.decode_ms,
        "queue": timings.queue_ms,
        "inference": timings.inference_ms,
        "encode": round((time.perf_counter() - started) * 1000, 1),
    }
    timing = ", ".join(f"{stage};dur={spent_ms}" for stage, spent_ms in stages.items() if spent_ms is not None)
    headers = {"X-Job-Id": event.id, "X-Model": order.model.name, "Server-Timing": timing, "Vary": "Accept"}
    if notes:
        headers["X-Note"] = "; ".join(notes)
    return Response(body, headers=headers, media_type=media_type)
