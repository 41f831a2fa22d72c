"""The header ``Idempotency-Key``: the request that came with one, and what of it must be the same in a repeat."""

import hashlib
import io
import json
import re
from typing import Annotated, Any, BinaryIO, cast

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.callers import caller_of
from app.parameters import FORM, parameters_of
from models.errors import Invalid
from models.store.runs import run_id_of
from worker.request_keys import KeyedRequest

HEADER = "Idempotency-Key"
MAX_KEY = 255  # characters
SCOPE = "doppel.keyed"  # in the ASGI scope of a request that came with a key: the KeyedRequest
WAIT = "wait"  # the form field that says how long to wait, but nothing about what is made

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY}}}")
_SMALL_FILE = 256 << 10  # bytes, hashed in less time than a thread takes to begin


def keyed(request: Request) -> KeyedRequest | None:
    """The request as one that came with a key; None for one that came without."""
    found: KeyedRequest | None = request.scope.get(SCOPE)
    return found


async def _request_id(request: Request) -> str | None:
    found = keyed(request)
    return found.id if found else None


# The id of the request, the same for each repeat; None if it came without a key.
RequestIdDep = Annotated[str | None, Depends(_request_id)]


async def _run_id(request: Request) -> str | None:
    found = keyed(request)
    return run_id_of(found.id) if found else None


# The id of the run that the request is to make; None: any.
RunIdDep = Annotated[str | None, Depends(_run_id)]


def key_of(request: Request) -> str:
    """The key, told from the same key of another client.

    Raises:
        Invalid: it is not of the form that is accepted.
    """
    keys = request.headers.getlist(HEADER)
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise Invalid(f"{HEADER}: one key of 1 to {MAX_KEY} visible ASCII characters is accepted, without spaces.")
    # Without keys of Doppel's own, a proxy may ask for others.
    sender = caller_of(request).name or request.headers.get("Authorization", "")
    return json.dumps([sender, request.headers.get("X-Client", ""), keys[0]])


async def fingerprint(request: Request) -> str:
    """A hash of what is asked for: method, path, query, and the content of the body.

    Of a form those are the fields and the files' bytes, since the boundary between them differs in each request. How
    long to wait does not count, nor do headers.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    takes = parameters_of(request)
    content: Any
    if takes is not None and takes.media_type == FORM:
        form = await request.form()
        content = [[name, await _value(value)] for name, value in form.multi_items() if name != WAIT]
    else:
        content = _json(await request.body())
    asked = [request.method, path, sorted(request.query_params.multi_items()), content]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


async def _value(value: str | UploadFile) -> str | list[str]:
    if isinstance(value, str):
        return value
    small = value.size is not None and value.size <= _SMALL_FILE
    return [_digest(value.file) if small else await run_in_threadpool(_digest, value.file)]


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
    file.seek(0)
    return digest


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # none, or one that is refused later
        return body.hex()
