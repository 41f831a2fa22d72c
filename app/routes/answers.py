"""Descriptions of responses for the OpenAPI document."""

from typing import Any

from app.errors import MEDIA_TYPE
from app.images import MEDIA_TYPES
from app.negotiation import JSON
from app.schemas import Job

Responses = dict[int | str, dict[str, Any]]

_PROBLEMS = {
    404: "There is nothing of this name or id.",
    406: "None of the media types in `Accept` is offered.",
    409: "The request conflicts with the present state; `detail` says how.",
    410: "The picture was kept for a while and has been deleted.",
    413: "The upload is larger than this server accepts.",
    422: "A value in the request is not accepted; `detail` says which, and what is accepted.",
    503: "The request cannot be handled now: the queue is full or unreachable, no worker is running, or the model's "
    "weights are missing. `Retry-After` says when to try again.",
}

_JOB_HEADERS = {
    "X-Job-Id": "the job's id, for `GET /jobs/{id}`",
    "X-Model": "the model that ran",
    "Server-Timing": "milliseconds spent on decoding, queueing, inference and encoding",
    "X-Note": "remarks on how the pictures were processed",
    "X-Seed": "StarGAN only: seeds of the latent codes, sent or drawn; sent again, they give the same styles",
}


def file(description: str, *media_types: str) -> dict[str, Any]:
    """A response whose body is a file, in the media type that the client prefers."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"description": description, "content": {media_type: binary for media_type in media_types}}


def result(description: str, *media_types: str) -> dict[str, Any]:
    """A response whose body is the file that a job made."""
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in _JOB_HEADERS.items()}
    return {**file(description, *media_types), "headers": headers}


def picture(description: str, *more_types: str) -> dict[str, Any]:
    """A response whose body is the picture that a job made."""
    return result(description, *MEDIA_TYPES, *more_types)


def page(description: str) -> dict[str, Any]:
    """A response that is a list, or with ``limit`` a page of it."""
    text = 'with `limit`: the next page, as `<...>; rel="next"`, if there is one'
    return {"description": description, "headers": {"Link": {"description": text, "schema": {"type": "string"}}}}


def events(description: str) -> dict[str, Any]:
    """A response that is a stream of server-sent events."""
    return {"description": description, "content": {"text/event-stream": {"schema": {"type": "string"}}}}


def problems(*statuses: int) -> Responses:
    """Error responses, each an RFC 9457 document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


def job(description: str) -> dict[str, Any]:
    """A response whose body is the job."""
    return {"description": description, "model": Job}


def work(success: dict[str, Any]) -> Responses:
    """The responses of a call that a worker carries out.

    Args:
        success: the response with the result; with ``Accept: application/json`` the client gets the job in its place.
    """
    as_job = {JSON: {"schema": {"$ref": "#/components/schemas/Job"}}}
    return {
        200: {**success, "content": {**success["content"], **as_job}},
        202: job("Not finished within `wait` seconds: the job. `Location` is its address."),
        500: job("The job failed: the job, whose `error` says why."),
        **problems(406, 409, 413, 422, 503),
    }
