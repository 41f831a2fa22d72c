"""From an order to a job in the queue: decode the uploads, cut out faces, check the result's size, submit."""

import time
from dataclasses import dataclass, replace
from functools import partial

from fastapi import Request

from app import images
from app.callers import Caller, caller_of
from app.clips import PreparedClip, prepare_clip
from app.deps import Services, client_of
from app.errors import BadPicture
from app.faces import cut_out
from app.geometry import Geometry
from app.images import Prepared, Upload
from app.keyed_requests import keyed
from app.orders import Order
from models.errors import Invalid
from models.pictures import Picture
from models.provenance.origin import Origin, has_credentials
from worker.contract import LONG_KINDS, MAX_RESULT_BYTES, Arrangement, Delivery, JobEvent, JobState, Kind, Task
from worker.file_bytes import pack_file
from worker.inference_queue import new_job_id
from worker.request_keys import KeyedRequest
from worker.webhooks import Hook

PHOTO = Geometry(standard=1024, multiple=1)  # enough for a face that is a small part of the photo
SMALL_FILE = 32 << 10  # bytes, of which the header is read at once
HASHED_AT_ONCE = 256 << 10  # bytes, which take no longer than to have a thread do so
MAX_RESULT_SIDE = 16_000  # px, a little less than WebP and H.264 can hold


@dataclass(frozen=True)
class Submission:
    """An order that was queued as a job, and what its answer is made of."""

    job_id: str
    kind: Kind
    model: str  # the one that runs
    seeds: list[int]
    arrangement: Arrangement | None
    delivery: Delivery | None  # how the generated pictures become those that the client asked for
    notes: list[str]  # what the client should know about how its pictures were used
    origin: Origin | None  # of the result, for its credentials
    history: bytes | None = None  # the credentials that the first source brought along; None: see the job
    end: JobEvent | None = None  # None: the job did not end within the wait
    repeated: bool = False  # the client has asked for this before

    @classmethod
    def of(cls, state: JobState, end: JobEvent | None) -> "Submission":
        """The submission of a job that the client has asked for before."""
        return cls(
            state.id,
            state.kind,
            state.model,
            state.seeds,
            state.arrangement,
            state.delivery,
            state.notes,
            state.origin,
            end=end,
            repeated=True,
        )


async def submit(request: Request, services: Services, order: Order, wait_s: float, webhook: str) -> Submission:
    """Queue the order and wait up to ``wait_s`` for the job to end. If the client disconnects, the job is canceled.

    Args:
        webhook: the address to tell when it has ended; empty: none.

    Raises:
        BadPicture: an upload is not a picture that can be used.
        Invalid: the result would be too large, or the client's name or the webhook is malformed.
        OSError: the disk is full.
        LimitReached: the API key has as many jobs in hand as it may.
        QueueFull: the queue has no room for the job, or could not end it within ``wait_s``.
    """
    services.settings.room.require_disk()
    caller, found = caller_of(request), keyed(request)
    job_id = found.id if found else new_job_id()
    hook = services.webhooks.hook(webhook, "job", job_id, owner=caller.name)
    with services.dispatcher.watching(job_id) as events:
        async with services.jobs.promised(caller.name, wait_s, long=order.long):
            queued = await _submit(services, job_id, order, caller, client_of(request), found, hook)
        end = await services.dispatcher.wait_for_end(request, job_id, events, wait_s) if wait_s else None
    return replace(queued, end=end)


@dataclass(frozen=True)
class _Upload:
    """An upload as the worker gets it."""

    picture: Picture
    delivery: Delivery | None  # of the picture that is made of it
    notes: list[str]
    tiled: bool = False  # it is too large to be given to the model at once
    clip: PreparedClip | None = None  # the picture is its file


async def _submit(
    services: Services,
    job_id: str,
    order: Order,
    caller: Caller,
    client: str | None,
    found: KeyedRequest | None,
    hook: Hook | None,
) -> Submission:
    started = time.perf_counter()
    with services.tracer.span("decode"):
        prepared = await _prepare_uploads(services, order)
    decode_ms = round((time.perf_counter() - started) * 1000, 1)
    sources = prepared[: len(order.images)]
    if len({(source.picture.shape, source.delivery) for source in sources}) > 1:
        raise Invalid("The sources come out in different shapes, and are laid side by side: name a resolution.")
    delivery = sources[0].delivery
    notes = [note for upload in prepared for note in upload.notes]
    if order.align and order.geometry.resolution in ("native", "source"):
        side = order.model.card.image_size
        notes.append(f"the answer is the aligned face, {side} x {side} px: it has no other size in the upload")
    origin, history = await _origin(services, order)
    with services.tracer.span("submit", {"doppel.job.id": job_id}):
        await services.jobs.submit(
            _task(order, sources[0]),
            *(upload.picture for upload in prepared),
            decode_ms=decode_ms,
            job_id=job_id,
            notes=notes,
            arrangement=order.arrangement,
            delivery=delivery,
            client=client,
            owner=caller.name,
            allowance=caller.job_allowance,
            origin=origin,
            history=history,
            write=found.write if found else None,
            hook=hook,
        )
    model, seeds, arrangement = order.model.name, order.seeds, order.arrangement
    return Submission(job_id, order.kind, model, seeds, arrangement, delivery, notes, origin, history)


async def _origin(services: Services, order: Order) -> tuple[Origin | None, bytes | None]:
    """The origin of a picture or a video, and the credentials that its first source brought along."""
    if order.kind == "style":
        return None, None
    look = partial(services.credentials.origin_of, order.model, order.images, order.references)
    small = sum(map(len, (*order.images, *order.references))) <= HASHED_AT_ONCE
    return look() if small and not has_credentials(order.images[0]) else await services.encoders.run(look)


async def _prepare_uploads(services: Services, order: Order) -> list[_Upload]:
    """Decode the sources, then the references."""
    source = "source" if order.kind in LONG_KINDS else "image"
    uploads = [(_numbered(source, n, order.images), data, order.geometry) for n, data in enumerate(order.images)]
    uploads += [
        (_numbered(order.reference_field, n, order.references), data, order.reference_geometry)
        for n, data in enumerate(order.references)
    ]
    in_tiles = order.model.card.family != "stargan_v2" and order.kind == "translation"
    prepared = []
    for name, data, geometry in uploads:
        if order.kind == "clip" and data is order.images[0]:
            clip = await services.codecs.run(prepare_clip, data, geometry, services.settings)
            prepared.append(_Upload(pack_file(data), None, clip.notes, clip=clip))
            continue
        try:
            upload = await _prepare(services, data, PHOTO if order.align else geometry, in_tiles=in_tiles)
        except BadPicture as error:
            raise BadPicture(f"{name}: {error}" if len(uploads) > 1 else str(error)) from error
        notes = [f"{name}: {upload.note}"] if upload.note else []
        picture, delivery = upload.picture, upload.delivery
        if order.align:
            picture, note = await services.codecs.run(cut_out, picture, name=name)
            notes += [note] if note else []
            delivery = _face_delivery(order)
        prepared.append(_Upload(picture, delivery, notes, upload.tiled))
    return prepared


def _numbered(field: str, n: int, uploads: list[bytes]) -> str:
    return f"{field} {n + 1}" if len(uploads) > 1 else field


async def _prepare(services: Services, data: bytes, geometry: Geometry, *, in_tiles: bool) -> Prepared:
    settings = services.settings
    limits = {"max_pixels": settings.max_pixels, "max_output_pixels": settings.max_output_pixels}
    if in_tiles:
        limits["max_tiled_pixels"] = settings.max_tiled_pixels
    if len(data) > SMALL_FILE:
        return await services.codecs.run(images.prepare, data, geometry, **limits)
    upload = Upload(data, geometry, **limits)
    return upload.prepare() if upload.small else await services.codecs.run(upload.prepare)


def _face_delivery(order: Order) -> Delivery | None:
    """How an aligned face becomes the answer: a square of the side that was asked for, if a number was."""
    made, asked = order.model.card.image_size, order.geometry.resolution
    if not isinstance(asked, int) or asked == made:
        return None
    return Delivery(width=made, height=made, out_width=asked, out_height=asked)


def _task(order: Order, source: _Upload) -> Task:
    """Describe the order to a worker.

    Raises:
        Invalid: the result would be too large.
    """
    # A cut-out face has a margin, which the generated picture has not.
    side = order.model.card.image_size
    height, width = (side, side) if order.align else source.picture.shape[:2]
    if source.clip is not None:
        width, height = source.clip.size
    task = Task(
        kind=order.kind,
        model=order.model.name,
        height=height,
        width=width,
        sources=len(order.images),
        guides=order.guides,
        painting=order.painting,
        frames=order.frames,
        filming=source.clip.filming if source.clip else None,
        align=order.align,
        tiled=source.tiled,
    )
    _check_result_size(task, source.delivery)
    return task


def _check_result_size(task: Task, delivery: Delivery | None) -> None:
    width, height = (delivery.out_width, delivery.out_height) if delivery else (task.width, task.height)
    grid = task.kind == "grid"
    across = width * (task.sources + 1 if grid else task.sources)
    down = height * (len(task.guides) + 1 if grid else 1)
    if max(across, down) > MAX_RESULT_SIDE:
        raise Invalid(
            f"The result would be {across} × {down} px; sides of at most {MAX_RESULT_SIDE} px are made. Ask for a "
            "smaller resolution."
        )
    nbytes = max(task.result_bytes, task.generated * width * height * 3 if task.kind in LONG_KINDS else 0)
    bounded = task.tiled or task.filming is not None  # by the settings
    if nbytes > MAX_RESULT_BYTES and not bounded:
        raise Invalid(
            f"The result would be {task.generated} pictures of {width} × {height}, {nbytes >> 20} MB before "
            f"compression; at most {MAX_RESULT_BYTES >> 20} MB are made at once. Ask for fewer sources, styles or "
            "frames, or a smaller resolution."
        )
