"""Every error that a client can get, and the one place where errors become answers.

Problem                     an answer that is not what was asked for (RFC 9457)
├── BadPicture         422  the upload is not a picture that can be used
├── BadRequest         422  a field's value is not acceptable
├── NotFound           404  no such job or model
├── TooLarge           413  the body is larger than allowed
├── NotAcceptable      406  the client takes nothing that we can answer with
├── NotReady           409  the picture is not there yet
├── Conflict           409  something else is in the way of that
├── Expired            410  the picture was there and is no longer kept
└── Unavailable        503  try again later, or have the operator do something
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.schemas import ProblemDetails
from models.errors import (
    CatalogError,
    DatasetError,
    ModelUnavailable,
    RunFolderError,
    UnknownDataset,
    UnknownModel,
    UnknownRun,
)
from models.store.files import is_full
from worker.errors import QueueFull, QueueUnreachable

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger("doppel.app")


class Problem(Exception):
    """Base of all answers that are errors; ``detail`` says what was wrong and what is accepted."""

    status = 500
    title = "Something went wrong"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers


class BadPicture(Problem):
    status = 422
    title = "Not a usable picture"


class BadRequest(Problem):
    status = 422
    title = "Not an acceptable request"


class NotFound(Problem):
    status = 404
    title = "Not found"


class TooLarge(Problem):
    status = 413
    title = "Upload too large"


class NotAcceptable(Problem):
    status = 406
    title = "Nothing acceptable to answer with"


class NotReady(Problem):
    status = 409
    title = "Not ready"


class Conflict(Problem):
    status = 409
    title = "In conflict with what is there"


class Expired(Problem):
    status = 410
    title = "No longer kept"


class Unavailable(Problem):
    status = 503
    title = "Not available now"

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


def install_handlers(app: FastAPI) -> None:
    """Make every error of the app an ``application/problem+json`` answer."""
    translate: dict[type[Exception], Callable[[Any], Problem]] = {
        UnknownModel: lambda error: BadRequest(str(error)),
        ModelUnavailable: lambda error: Unavailable(str(error), retry_after_s=60),
        CatalogError: lambda error: Unavailable(str(error), retry_after_s=60),
        UnknownDataset: lambda error: NotFound(str(error)),
        DatasetError: lambda error: BadRequest(str(error)),
        UnknownRun: lambda error: NotFound(str(error)),
        RunFolderError: lambda error: Conflict(str(error)),
        QueueFull: lambda error: Unavailable(str(error), retry_after_s=error.retry_after_s),
        QueueUnreachable: lambda error: Unavailable("The queue is not reachable. Try again shortly."),
        RequestValidationError: lambda error: BadRequest(sentence(error.errors())),
        OSError: _of_disk,
    }

    def handler(to_problem: Callable[[Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return _answer(to_problem(error))

        return handle

    app.add_exception_handler(Problem, handler(lambda error: error))
    for kind, to_problem in translate.items():
        app.add_exception_handler(kind, handler(to_problem))
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(Exception, _handle_unexpected)


def _of_disk(error: OSError) -> Problem:
    """A disk that takes no more is the operator's to mend; any other error of the system is unexpected."""
    if not is_full(error):
        raise error
    log.error("the disk takes no more: %s", error)
    return Unavailable("The server's disk takes no more; its operator has to see to it.", retry_after_s=600)


def _answer(problem: Problem) -> Response:
    return problem_response(problem.status, problem.title, problem.detail, problem.headers)


def problem_response(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An RFC 9457 answer."""
    sendable = detail.encode(errors="replace").decode()  # it may quote what no UTF-8 can hold
    body = ProblemDetails(title=title, status=status, detail=sendable)
    return JSONResponse(body.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE)


async def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError) and is_full(error.__cause__):  # there was none for the upload
        return _answer(_of_disk(error.__cause__))
    phrase = HTTPStatus(error.status_code).phrase
    return problem_response(error.status_code, phrase, str(error.detail), dict(error.headers or {}))


async def _handle_unexpected(request: Request, error: Exception) -> Response:
    # Starlette logs the traceback after this answer.
    return problem_response(500, "Something went wrong", "The server failed on this request; its log says why.")


def sentence(errors: Sequence[Any]) -> str:
    """One sentence a field: where it is and what is wrong with it.

    Args:
        errors: as pydantic lists them.
    """
    parts = []
    for item in errors:
        where = ".".join(str(part) for part in item["loc"] if part not in ("body", "query", "path"))
        match item["type"]:
            case "json_invalid":
                parts.append(f"the body is no JSON, from character {where}: {item['ctx']['error']}")
            case "model_attributes_type" | "dict_type" if not where:
                parts.append("a JSON object is needed, sent with Content-Type: application/json")
            case "extra_forbidden":
                parts.append(f"{where}: there is no option of this name here; /docs lists them")
            case _:
                what = item["msg"].removeprefix("Value error, ")
                if what.startswith("Expected UploadFile"):
                    what = f"a file is needed; with curl: -F {where.split('.')[0]}=@FILE"
                parts.append(f"{where or 'request'}: {what}")
    return "; ".join(parts) + "."
