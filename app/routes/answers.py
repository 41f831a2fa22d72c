"""How each call's answers are described in the OpenAPI document."""

from typing import Any

from app.errors import MEDIA_TYPE
from app.images import MEDIA_TYPES
from app.schemas import Job, ProblemDetails

Responses = dict[int | str, dict[str, Any]]

_PROBLEMS = {
    404: "No such job or model.",
    406: "The `Accept` header leaves nothing to answer with.",
    409: "The job is not in a state for that: its picture is not ready, it was canceled, or it has ended.",
    410: "The picture is no longer kept.",
    413: "The upload is larger than this server takes.",
    422: "Something in the request is not acceptable; `detail` says what, and what is.",
    503: "Nothing can take the request now: the queue is full or unreachable, no worker runs, or the model's weights "
    "are missing. `Retry-After` says when to try again.",
}


def picture(description: str, *more_types: str) -> dict[str, Any]:
    """An answer with a picture, in whichever format the client prefers."""
    return file(description, *MEDIA_TYPES, *more_types)


def file(description: str, *media_types: str) -> dict[str, Any]:
    """An answer with a file, in whichever format the client prefers."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    headers = {
        name: {"description": meaning, "schema": {"type": "string"}}
        for name, meaning in {
            "X-Job-Id": "the job, for `GET /jobs/{id}`",
            "X-Model": "the model that ran",
            "Server-Timing": "milliseconds of decode, queue, inference and encode",
            "X-Note": "what was done with the pictures that is worth knowing",
        }.items()
    }
    return {"description": description, "content": {kind: binary for kind in media_types}, "headers": headers}


def problems(*statuses: int) -> Responses:
    """The error answers of a call, each an RFC 9457 document."""
    schema = ProblemDetails.model_json_schema()
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


def job(description: str) -> dict[str, Any]:
    return {"description": description, "model": Job}


def work(result: dict[str, Any]) -> Responses:
    """The answers of a call that has a worker do something; ``result`` describes the one hoped for."""
    return {
        200: result,
        202: job("Not done within `wait`: the job. `Location` is where to look."),
        500: job("The job failed: the job, whose `error` says why."),
        **problems(406, 409, 413, 422, 503),
    }
