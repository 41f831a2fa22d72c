"""Calls about jobs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from doppel.answers import Job, Picture
from doppel.errors import ApiError
from doppel.events import Event
from doppel.steps import Send, Steps, Upload, post, watched

Source = str | Path | bytes  # a file's path, or its content
Format = Literal["png", "jpeg", "webp", "mp4", "zip"]
OnProgress = Callable[[Job], object]

MEDIA_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "zip": "application/zip",
}


def order(path: str, files: Mapping[str, Source | Sequence[Source]], **fields: object) -> Steps[Job]:
    """Order any work that the API does as a job, and get the job at once.

    For instance a video: ``order("/stargan/video", {"sources": "photo.jpg"}, seeds=[1, 2], frames=24)``.

    Args:
        path: of the call, as in the API's documentation.
        files: the files of its form, by field.
        fields: its other fields.

    Raises:
        ApiError: the order was refused, or not answered.
        OSError: a file can't be read.
    """
    form = as_form(fields) | {"wait": "0"}
    response = yield post(path, fields=form, uploads=uploads_of(files), headers={"Accept": "application/json"})
    return Job.of(response.json())


def job(job_id: str) -> Steps[Job]:
    """Look a job up.

    Raises:
        ApiError: there is no such job, or it ended so long ago that it was forgotten (404).
    """
    return Job.of((yield Send("GET", f"/jobs/{job_id}")).json())


def jobs(limit: int = 50, before: str = "") -> Steps[list[Job]]:
    """The newest jobs that were ordered under this client's name, newest first.

    Args:
        limit: at most this many, 1 to 200.
        before: only jobs older than this one, by its id.

    Raises:
        ApiError: as every call.
    """
    query: dict[str, str | int] = {"limit": limit} | ({"before": before} if before else {})
    return [Job.of(described) for described in (yield Send("GET", "/jobs", query)).json()]


def wait(job: Job | str, *, on_progress: OnProgress | None = None) -> Steps[Job]:
    """Wait until a job has succeeded, over lost connections too. Canceling the wait does not cancel the job.

    Args:
        job: the job or its id.
        on_progress: called with the job at once and at every change.

    Raises:
        ApiError: the job failed (500) or was canceled (409), is not known (404), or the server is gone for good (0).
    """
    job_id = job if isinstance(job, str) else job.id

    def read(event: Event) -> Job:
        state = Job.of(event.data)
        if on_progress is not None:
            on_progress(state)
        return state

    state = yield from watched(f"/jobs/{job_id}/events", read, job if isinstance(job, Job) else None)
    if state.status != "succeeded":
        raise ApiError.of_job(state.described)
    return state


def picture(job: Job | str, format: Format | None = None) -> Steps[Picture]:
    """What a job made, for as long as it is kept.

    Args:
        job: the job or its id.
        format: None for the first that the job offers: PNG, or MP4 for a video.

    Raises:
        ApiError: the job has not succeeded (409), or what it made was deleted (410).
    """
    job_id = job if isinstance(job, str) else job.id
    return Picture.of((yield Send("GET", f"/jobs/{job_id}/image", headers=accepting(format))))


def cancel(job: Job | str) -> Steps[Job]:
    """Cancel a job: a queued one never runs, what a running one makes is dropped.

    Raises:
        ApiError: it has ended (409), or is not known (404).
    """
    job_id = job if isinstance(job, str) else job.id
    return Job.of((yield Send("DELETE", f"/jobs/{job_id}")).json())


def made(
    path: str,
    fields: Mapping[str, object],
    files: Mapping[str, Source | Sequence[Source]],
    *,
    format: Format | None,
    on_progress: OnProgress | None,
    key: str | None,
) -> Steps[Picture]:
    """What a call makes that takes a form. With ``on_progress`` its job is followed, else the answer is waited for."""
    form = as_form(fields) | ({"wait": "0"} if on_progress else {})
    response = yield post(path, key=key, headers=accepting(format), fields=form, uploads=uploads_of(files))
    if response.status_code == 202:
        ended = yield from wait(Job.of(response.json()), on_progress=on_progress)
        return (yield from picture(ended, format))
    return Picture.of(response)


def as_form(fields: Mapping[str, object]) -> dict[str, str]:
    """Fields as a form has them. What is None is left out."""
    return {name: _text(value) for name, value in fields.items() if value is not None}


def uploads_of(files: Mapping[str, Source | Sequence[Source]]) -> list[Upload]:
    """The files of a form."""
    found = []
    for name, sources in files.items():
        for source in [sources] if isinstance(sources, Source) else sources:
            found.append(Upload(name, Path(source) if isinstance(source, str) else source))
    return found


def accepting(format: Format | None) -> dict[str, str]:
    """The header by which the server chooses a media type."""
    return {"Accept": MEDIA_TYPES[format]} if format else {"Accept": "*/*"}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, list | tuple) else str(value)
