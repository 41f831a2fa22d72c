"""Calls about models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from doppel.answers import Job
from doppel.calls.jobs import OnProgress, as_form, wait
from doppel.steps import Send, Steps, Upload, post


def models() -> Steps[list[dict[str, Any]]]:
    """The models of the server, as ``GET /models`` describes them: ``name``, ``family``, ``availability``, ...

    Raises:
        ApiError: as every call.
    """
    found: list[dict[str, Any]] = (yield Send("GET", "/models")).json()
    return found


def fetch_model(name: str, *, on_progress: OnProgress | None = None) -> Steps[dict[str, Any]]:
    """Have the server download a model's weights, wait for it, and return the model as the API describes it.

    Args:
        name: of a model whose ``availability`` is "not fetched".
        on_progress: called with the job whenever it changes.

    Raises:
        ApiError: the weights are there already (409), could not be downloaded (500), or as every call.
    """
    response = yield post(f"/models/{name}/fetch")
    yield from wait(Job.of(response.json()), on_progress=on_progress)
    return (yield from _model(name))


def add_model(
    name: str,
    file: str | Path,
    *,
    on_sent: Callable[[float], object] | None = None,
    on_progress: OnProgress | None = None,
    **details: str,
) -> Steps[dict[str, Any]]:
    """Put a weights file or an exported model into service, and return the model as the API describes it.

    Args:
        name: a free one.
        file: its path.
        on_sent: called with the part of the file that was sent, 0 to 1.
        on_progress: called with the job that checks the file whenever it changes.
        details: further fields of ``POST /models``: ``network``, ``domains``, ``licence``, ...

    Raises:
        ApiError: the name is taken (409), the file is no such model (422 or 500), or as every call.
        OSError: the file can't be read.
    """
    fields = as_form({"name": name, "wait": 0, **details})
    response = yield post("/models", fields=fields, uploads=[Upload("file", Path(file), on_sent)])
    yield from wait(Job.of(response.json()), on_progress=on_progress)
    return (yield from _model(name))


def _model(name: str) -> Steps[dict[str, Any]]:
    described: dict[str, Any] = (yield Send("GET", f"/models/{name}")).json()
    return described
