"""How a job has ended, as an HTTP response."""

import json
import time
from collections.abc import Sequence
from functools import partial

from fastapi import Response

from app.credentials import Signing
from app.deps import Services
from app.errors import BadVideo, Expired, NotReady
from app.images import is_small
from app.negotiation import JSON
from app.rendering import render
from app.schemas import Job
from app.submitting import Submission
from models.errors import Conflict, Unavailable
from worker.contract import FailureCode, JobEvent, Status
from worker.meters import STAGE_SECONDS


async def reply(services: Services, submission: Submission, media_type: str) -> Response:
    """Reply with the result if there is one and the client wants a file, else with the job.

    Raises:
        Unavailable, NotReady, Conflict: as :func:`job_reply`, or the result was lost.
        Expired: the result was delivered before, and has been deleted since.
    """
    end = submission.end
    if end is not None and end.status is Status.SUCCEEDED and media_type != JSON:
        return await _file_reply(services, submission, end, media_type)
    return await job_reply(services, submission)


async def job_reply(services: Services, submission: Submission) -> Response:
    """Reply with the job: 200 or 500 if it ended within the wait, else 202.

    Raises:
        Unavailable: the job is gone.
        NotReady: it was canceled.
        Conflict: its model was taken out of service.
        BadVideo: its clip is damaged behind its beginning.
    """
    waited = submission.end is not None
    state = await services.jobs.state(submission.job_id)
    if state is None:
        raise Unavailable("The queue lost this job. Send it again.")
    if waited and state.status is Status.CANCELED:
        raise NotReady("The job was canceled before it ended.")
    if waited and state.error is not None and state.error.code is FailureCode.MODEL_REMOVED:
        raise Conflict(state.error.detail)
    if waited and state.error is not None and state.error.code is FailureCode.CLIP_REFUSED:
        raise BadVideo(state.error.detail)
    status = {Status.SUCCEEDED: 200, Status.FAILED: 500}.get(state.status, 202) if waited else 202
    job = Job.of(state)
    headers = job_headers(state.id, state.model, notes=state.notes, seeds=state.seeds) | {"Location": job.links.self}
    return Response(job.model_dump_json(), status_code=status, headers=headers, media_type=JSON)


def job_headers(job_id: str, model: str, *, notes: Sequence[str], seeds: list[int]) -> dict[str, str]:
    """Headers of every response that carries a job or its result."""
    headers = {"X-Job-Id": job_id, "X-Model": _sendable(model), "Vary": "Accept"}
    if notes:
        headers["X-Note"] = _sendable("; ".join(notes))
    if seeds:
        headers["X-Seed"] = json.dumps(seeds if len(seeds) > 1 else seeds[0])  # as the field takes it
    return headers


def _sendable(text: str) -> str:
    """The text as a header can carry it: in Latin-1, without control characters, which a foreign record may have."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text.encode("latin-1", errors="replace").decode("latin-1")


async def _file_reply(services: Services, submission: Submission, end: JobEvent, media_type: str) -> Response:
    result = await services.jobs.result(end.id)
    if result is None and submission.repeated:
        raise Expired("The picture was kept for a while and has been deleted. Send the original with a new key.")
    if result is None:
        raise Unavailable("The result was lost before it could be delivered. Send the picture again.")
    services.dispatcher.delivered(end.id)
    started = time.perf_counter()
    history = submission.history
    if submission.repeated and submission.origin is not None and submission.origin.history:
        history, _ = await services.jobs.signing(end.id, media_type)
    origin = submission.origin
    if origin is not None and end.version is not None:  # another version may be in service since it was ordered
        origin = origin.model_copy(update={"version": end.version})
    sign = Signing(services.credentials, origin, history)
    work = partial(render, result, submission.kind, submission.arrangement, submission.delivery, media_type, sign)
    small = len(result) == 1 and submission.delivery is None and is_small(result[0].shape[:2])
    with services.tracer.span("encode", {"doppel.media_type": media_type}):
        body = work() if small and services.credentials.quick else await services.encoders.run(work)
    encode_s = time.perf_counter() - started
    services.meter.observe(STAGE_SECONDS, encode_s, "encode")
    spent_ms = {
        "decode": end.timings.decode_ms,
        "queue": end.timings.queue_ms,
        "inference": end.timings.inference_ms,
        "encode": round(encode_s * 1000, 1),
    }
    timing = ", ".join(f"{stage};dur={ms}" for stage, ms in spent_ms.items() if ms is not None)
    headers = job_headers(end.id, submission.model, notes=submission.notes, seeds=submission.seeds)
    headers["Server-Timing"] = timing
    return Response(body, headers=headers, media_type=media_type)
