"""From an order to a job in the queue: decode the uploads, cut out faces, check the result's size, submit."""

import time
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app import images
from app.deps import Services
from app.errors import BadPicture
from app.faces import cut_out
from app.images import Geometry
from app.orders import Order
from models.errors import Invalid
from models.pictures import Picture
from worker.contract import LONG_KINDS, JobEvent, Task
from worker.inference_queue import new_job_id

PHOTO = Geometry(at_most=1024)  # enough for a face that is a small part of the photo
MAX_RESULT_BYTES = 96 << 20  # uncompressed; a result stays in Redis for a while
MAX_RESULT_SIDE = 16_000  # px, a little less than WebP and H.264 can hold


@dataclass(frozen=True)
class Submission:
    """An order that was queued as a job."""

    order: Order
    job_id: str
    notes: list[str]  # what the client should know about how its pictures were used
    end: JobEvent | None  # None: the job did not end within the wait


async def submit(request: Request, services: Services, order: Order, wait_s: float) -> Submission:
    """Queue the order and wait up to ``wait_s`` for the job to end. If the client disconnects, the job is canceled.

    Raises:
        BadPicture: an upload is not a picture that can be used.
        Invalid: the result would be too large.
        QueueFull: the queue has no room for the job.
    """
    job_id = new_job_id()
    with services.dispatcher.watching(job_id) as events:
        notes = await _submit(services, job_id, order)
        end = await services.dispatcher.wait_for_end(request, job_id, events, wait_s) if wait_s else None
    return Submission(order, job_id, notes, end)


async def _submit(services: Services, job_id: str, order: Order) -> list[str]:
    started = time.perf_counter()
    pictures, notes = await _decode_uploads(services, order)
    decode_ms = round((time.perf_counter() - started) * 1000, 1)
    await run_in_threadpool(
        services.queue.submit,
        _task(order, pictures),
        *pictures,
        decode_ms=decode_ms,
        job_id=job_id,
        notes=notes,
        arrangement=order.arrangement,
    )
    return notes


async def _decode_uploads(services: Services, order: Order) -> tuple[list[Picture], list[str]]:
    """Decode the sources, then the references; return them with notes for the client."""
    squeezed = Geometry.squeezed(order.model.card.image_size)
    source = "source" if order.kind in LONG_KINDS else "image"
    uploads = [(_numbered(source, n, order.images), data, order.geometry) for n, data in enumerate(order.images)]
    uploads += [
        (_numbered("reference", n, order.references), data, squeezed) for n, data in enumerate(order.references)
    ]
    pictures, notes = [], []
    for name, data, geometry in uploads:
        try:
            picture = await _decode(services, data, PHOTO if order.align else geometry)
        except BadPicture as error:
            raise BadPicture(f"{name}: {error}" if len(uploads) > 1 else str(error)) from error
        if order.align:
            picture, note = await services.codecs.run(cut_out, picture, name=name)
            notes += [note] if note else []
        pictures.append(picture)
    return pictures, notes


def _numbered(field: str, n: int, uploads: list[bytes]) -> str:
    return f"{field} {n + 1}" if len(uploads) > 1 else field


async def _decode(services: Services, data: bytes, geometry: Geometry) -> Picture:
    settings = services.settings
    limits = {"max_pixels": settings.max_pixels, "max_output_pixels": settings.max_output_pixels}
    return await services.codecs.run(images.decode, data, geometry, **limits)


def _task(order: Order, pictures: list[Picture]) -> Task:
    """Describe the order to a worker.

    Raises:
        Invalid: the sources differ in shape, or the result would be too large.
    """
    shapes = {picture.shape[:2] for picture in pictures[: len(order.images)]}
    if len(shapes) > 1:
        raise Invalid("The sources come out in different shapes, and are laid side by side: name a resolution.")
    # A cut-out face has a margin, which the generated picture has not.
    side = order.model.card.image_size
    height, width = (side, side) if order.align else shapes.pop()
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
    _check_result_size(task)
    return task


def _check_result_size(task: Task) -> None:
    grid = task.kind == "grid"
    across = task.width * (task.sources + 1 if grid else task.sources)
    down = task.height * (len(task.guides) + 1 if grid else 1)
    if max(across, down) > MAX_RESULT_SIDE:
        raise Invalid(
            f"The result would be {across} × {down} px; sides of at most {MAX_RESULT_SIDE} px are made. Ask for a "
            "smaller resolution."
        )
    if task.result_bytes > MAX_RESULT_BYTES:
        raise Invalid(
            f"The result would be {task.generated} pictures of {task.width} × {task.height}, "
            f"{task.result_bytes >> 20} MB before compression; at most {MAX_RESULT_BYTES >> 20} MB are made at once. "
            "Ask for fewer sources, styles or frames, or a smaller resolution."
        )
