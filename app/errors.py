"""Translation of errors into HTTP answers (RFC 9457), and the branches of the error tree that only HTTP needs.

The tree is in ``models/errors.py`` and ``worker/errors.py``. This file adds:

DoppelError
├── Invalid                422
│   ├── BadPicture         422  the upload is not a usable picture
│   │   └── NoFace         422  it has no face, or one that is too small, for a model of faces
│   └── BadVideo           422  the upload is not a usable video
├── Conflict               409
│   └── NotReady           409  the result does not exist yet
├── Expired                410  the result existed and has been deleted
├── Unauthorized           401  the request has no API key that is known here
├── Forbidden              403  the API key is not good for this
├── ForeignOrigin          403  a web page of another site sent the request
├── UnknownHost            400  the Host header is not a name of this server
├── TooLarge               413  the body is larger than allowed
├── NotAcceptable          406  the client accepts none of the media types on offer
└── RangeNotSatisfiable    416  the part of a file that is asked for does not exist
"""

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import Receive, Scope, Send

from app.parameters import FORM, parameters_of, paths_like, wrong_kind
from app.request_record import record_of
from app.schemas import ProblemDetails
from models.errors import Conflict, DoppelError, Invalid, NotFound, Unavailable, UnknownModel
from models.store.files import is_full
from worker.errors import LimitReached

MEDIA_TYPE = "application/problem+json"
DISK_RETRY_AFTER_S = 600
CHALLENGE = 'Bearer realm="Doppel"'  # RFC 6750
UNEXPECTED = "Something went wrong"
MAX_LISTED_ERRORS = 10

log = logging.getLogger("doppel.app")


class BadPicture(Invalid):
    """The upload is not a usable picture."""


class NoFace(BadPicture):
    """The picture has no face, or one that is too small, and the model needs one."""

    code = "no_face"  # for clients, which may offer to send align=none


class BadVideo(Invalid):
    """The upload is not a usable video."""


class NotReady(Conflict):
    """The result does not exist yet."""


class Expired(DoppelError):
    """The result existed and has been deleted."""


class Unauthorized(DoppelError):
    """The request has no API key, or none that is known here.

    Args:
        sent: whether it has one.
    """

    def __init__(self, *, sent: bool) -> None:
        super().__init__(
            "This API key is not known here; it may have been withdrawn."
            if sent
            else "This server asks for an API key. Send it as a header: Authorization: Bearer KEY"
        )
        self.challenge = CHALLENGE + (', error="invalid_token"' if sent else "")


class Forbidden(DoppelError):
    """The API key may not do this.

    Args:
        scope: the scope that is missing; empty if the refusal has another reason.
    """

    def __init__(self, message: str, *, scope: str = "") -> None:
        super().__init__(message)
        self.challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"' if scope else ""


class ForeignOrigin(DoppelError):
    """A web page of another site sent the request."""


class UnknownHost(DoppelError):
    """The ``Host`` header is not a name of this server."""


class TooLarge(DoppelError):
    """The body is larger than allowed.

    Args:
        max_bytes: of this call.
        nbytes: of the body, if the client has said so.
    """

    def __init__(self, max_bytes: int, nbytes: int | None = None) -> None:
        size = "more bytes than that" if nbytes is None else f"{nbytes:,} bytes"
        super().__init__(f"At most {max_bytes:,} bytes are accepted here; this body has {size}.")


class NotAcceptable(DoppelError):
    """The client accepts none of the media types on offer."""


class RangeNotSatisfiable(DoppelError):
    """The part of a file that is asked for does not exist."""


# Status and title. The first of an error's classes, in method resolution order, that is listed here decides.
_ANSWERS: dict[type, tuple[int, str]] = {
    BadPicture: (422, "Not a usable picture"),
    BadVideo: (422, "Not a usable video"),
    Invalid: (422, "Invalid request"),
    NotFound: (404, "Not found"),
    NotReady: (409, "Not ready"),
    Conflict: (409, "Conflict"),
    Expired: (410, "Deleted"),
    Unauthorized: (401, "No valid API key"),
    Forbidden: (403, "Not allowed"),
    ForeignOrigin: (403, "Not accepted from another site"),
    UnknownHost: (400, "Unknown host name"),
    TooLarge: (413, "Upload too large"),
    NotAcceptable: (406, "Not acceptable"),
    RangeNotSatisfiable: (416, "Range not satisfiable"),
    LimitReached: (429, "Too many requests"),
    Unavailable: (503, "Unavailable"),
    DoppelError: (500, UNEXPECTED),
}


def install_handlers(app: FastAPI) -> None:
    """Make every error of the app an ``application/problem+json`` answer."""
    app.add_exception_handler(DoppelError, _handle)
    app.add_exception_handler(RequestValidationError, _handle_validation)
    app.add_exception_handler(OSError, _handle_os)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(Exception, _handle_unexpected)


async def _handle(request: Request, error: Exception) -> Response:
    # An unknown name in a form field is an invalid value (422). Only an unknown name in the path is "not found" (404).
    if isinstance(error, UnknownModel) and error.name not in request.path_params.values():
        return answer(Invalid(str(error)))
    return answer(error)


async def _handle_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    takes = parameters_of(request)
    unsent = {item["loc"][-1] for item in error.errors() if item["type"] == "missing"}
    if takes is not None and unsent & set(takes.needed):
        return answer(Invalid(f"{sentence(error.errors())} With curl: {takes.example(request)}"))
    return answer(Invalid(sentence(error.errors())))


async def _handle_os(request: Request, error: Exception) -> Response:
    """A full disk is reported as such, since the operator can act on it. Other system errors are unexpected."""
    assert isinstance(error, OSError)
    if not is_full(error):
        raise error
    return _disk_full(error)


async def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError) and is_full(error.__cause__):  # storing the upload failed
        return _disk_full(error.__cause__)
    if error.status_code == 413 and (max_bytes := request.scope.get(MAX_BODY_SIZE_SCOPE_KEY)):
        return answer(TooLarge(max_bytes), {"Connection": "close"})
    takes = parameters_of(request)
    if takes is not None and error.status_code == 400:  # FastAPI could not read the body
        reason = f"The body cannot be read: {str(error.__cause__ or error.detail).rstrip('.')}."
        hint = " A part with a file needs a file name." if takes.media_type == FORM else ""
        return answer(Invalid(wrong_kind(request, takes) or f"{reason}{hint} With curl: {takes.example(request)}"))
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if error.status_code in (404, 405):  # no route takes it
        path = request.scope["path"]
        known = await run_in_threadpool(paths_like, request)
        if methods := known.get(path):
            headers["Allow"] = ", ".join(methods)
            detail = f"{path[:80]} does not take {request.method}; it takes {headers['Allow']}."
        elif error.status_code == 404:
            near = get_close_matches(path.lower(), known, n=1)
            detail = f"There is nothing at {path[:80]}{f'; did you mean {near[0]}?' if near else '.'} All calls: /docs."
    return problem_response(error.status_code, HTTPStatus(error.status_code).phrase, detail, headers)


async def _handle_unexpected(request: Request, error: Exception) -> Response:
    # Starlette logs the traceback after this answer.
    record = record_of(request.scope)
    headers = {"X-Request-Id": record.id} if record else None  # no middleware sees this answer
    return problem_response(500, UNEXPECTED, "The server failed to handle this request; see its log.", headers)


def answer(error: Exception, headers: dict[str, str] | None = None) -> Response:
    """The HTTP answer to an error of the tree."""
    status, title = next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
    if isinstance(error, Unavailable):
        headers = {"Retry-After": str(error.retry_after_s)} | (headers or {})
    if isinstance(error, Unauthorized | Forbidden) and error.challenge:
        headers = {"WWW-Authenticate": error.challenge} | (headers or {})
    code = error.code if isinstance(error, NoFace) else None
    return problem_response(status, title, str(error), headers, code=code)


def _disk_full(error: OSError) -> Response:
    log.error("the disk is full: %s", error)
    detail = "The server's disk is full; its operator must free some space."
    return answer(Unavailable(detail, retry_after_s=DISK_RETRY_AFTER_S))


def problem_response(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None, *, code: str | None = None
) -> Response:
    """An answer with a problem document (RFC 9457)."""
    sendable = detail.encode(errors="replace").decode()  # it may quote lone surrogates from the request
    body = ProblemDetails(title=title, status=status, detail=sendable, code=code)
    return _Problem(body.model_dump(), status_code=status, headers=headers)


class _Problem(JSONResponse):
    """A problem document, which is noted in the request's record when it is sent."""

    media_type = MEDIA_TYPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        if record is not None:
            record.problem = self._title
        await super().__call__(scope, receive, send)

    def render(self, content: Any) -> bytes:
        self._title: str = content["title"]
        return super().render(content)


def sentence(errors: Sequence[Any]) -> str:
    """Describe validation errors in one sentence: for each of the first, the field and what is wrong with it.

    Args:
        errors: as listed by pydantic's ``ValidationError.errors()``.
    """
    parts = []
    for item in errors[:MAX_LISTED_ERRORS]:
        where = ".".join(str(part)[:80] for part in item["loc"] if part not in ("body", "query", "path"))
        match item["type"]:
            case "json_invalid":
                parts.append(f"the body is not valid JSON, from character {where}: {item['ctx']['error']}")
            case "model_attributes_type" | "dict_type" if not where:
                parts.append("the body is JSON, but no object")
            case "extra_forbidden":
                parts.append(f"{where}: there is no option of this name; see /docs")
            case _:
                what = item["msg"].removeprefix("Value error, ")
                parts.append(f"{where or 'request'}: {what}")
    more = len(errors) - MAX_LISTED_ERRORS
    return "; ".join(parts) + (f"; and {more:,} more." if more > 0 else ".")
