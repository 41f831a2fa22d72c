"""Calls about data sets and training runs."""

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from doppel.answers import Job, Run
from doppel.calls.jobs import OnProgress, wait
from doppel.events import Event
from doppel.steps import Send, Steps, Upload, post, watched

Family = Literal["cyclegan", "cut", "stargan"]


def upload_dataset(
    name: str,
    source: str | Path,
    *,
    on_sent: Callable[[float], object] | None = None,
    on_progress: OnProgress | None = None,
) -> Steps[dict[str, Any]]:
    """Upload a data set, and wait until the server has checked its pictures.

    Args:
        name: letters, digits, ".", "_" and "-"; at most 64.
        source: a zip, or a folder with ``trainA/`` and ``trainB/`` or with ``train/<domain>/``, which is zipped on the
            way, in the system's folder for temporary files.
        on_sent: called with the part of the file that was sent, 0 to 1.
        on_progress: called with the job that checks the pictures whenever it changes.

    Returns:
        The data set, as ``GET /datasets/{name}`` describes it: its domains, and what was left out and why.

    Raises:
        ApiError: the name is taken (409), there is no data set in the file (422 or 500), or as every call.
        OSError: the file or folder can't be read.
    """
    path = Path(source)
    with tempfile.TemporaryDirectory(prefix="doppel-") as folder:
        archive = _zipped(path, Path(folder) / f"{path.name}.zip") if path.is_dir() else path
        upload = Upload("archive", archive, on_sent)
        response = yield post("/datasets", fields={"name": name, "wait": "0"}, uploads=[upload])
    yield from wait(Job.of(response.json()), on_progress=on_progress)
    described: dict[str, Any] = (yield Send("GET", f"/datasets/{name}")).json()
    return described


def datasets() -> Steps[list[dict[str, Any]]]:
    """The data sets of the server, as ``GET /datasets`` describes them.

    Raises:
        ApiError: as every call.
    """
    found: list[dict[str, Any]] = (yield Send("GET", "/datasets")).json()
    return found


def forecast(family: Family, dataset: str, **options: Any) -> Steps[dict[str, Any]]:
    """What a run would take, without starting it: ``seconds``, ``memory_mb``, ``total_steps``, ``warnings``.

    Args:
        family, dataset, options: as of :meth:`Doppel.train`.

    Raises:
        ApiError: an option is not accepted (422), or as every call.
    """
    asked = {"dataset": dataset, **options}
    described: dict[str, Any] = (yield post(f"/training/{family}", json=asked, query={"dry_run": "true"})).json()
    return described


def train(family: Family, dataset: str, *, key: str | None = None, **options: Any) -> Steps[Run]:
    """Start a training run.

    Args:
        family: "cyclegan", "cut" or "stargan".
        dataset: name of an uploaded data set.
        key: the idempotency key, as of :meth:`Doppel.translate`.
        options: of the run, as ``POST /training/...`` takes them (docs/training.md); those that are left out are the
            paper's.

    Raises:
        ApiError: an option is not accepted (422), there is no such data set (404), or as every call.
    """
    return Run.of((yield post(f"/training/{family}", key=key, json={"dataset": dataset, **options})).json())


def run(run_id: str) -> Steps[Run]:
    """Look a run up.

    Raises:
        ApiError: there is no such run (404), or as every call.
    """
    return Run.of((yield Send("GET", f"/training/{run_id}")).json())


def runs(limit: int | None = None, before: str = "") -> Steps[list[Run]]:
    """The training runs of the server, newest first.

    Args:
        limit: at most this many, 1 to 200; None: all.
        before: only runs older than this one, by its id.

    Raises:
        ApiError: as every call.
    """
    query: dict[str, str | int] = ({"limit": limit} if limit else {}) | ({"before": before} if before else {})
    return [Run.of(described) for described in (yield Send("GET", "/training", query)).json()]


def follow(run: Run | str, on_event: Callable[[Event], object] | None = None) -> Steps[Run]:
    """Wait until a run has ended, over lost connections too. Ending the wait does not stop the run.

    Args:
        run: the run or its id.
        on_event: called with each event: "metrics" (``data`` has the losses of a step), "sample" (a picture is
            there), "alarm" and "status" (``data`` is the run as the API describes it).

    Returns:
        The run, which has succeeded, failed or was stopped.

    Raises:
        ApiError: there is no such run (404), or the server is gone for good (0).
    """

    def read(event: Event) -> Run | None:
        if on_event is not None:
            on_event(event)
        return Run.of(event.data) if event.name == "status" else None

    return watched(f"/training/{_id(run)}/events", read)


def stop(run: Run | str, *, force: bool = False) -> Steps[Run]:
    """Stop a run. It finishes its step and saves a checkpoint, for which :meth:`Doppel.follow` waits.

    Args:
        run: the run or its id.
        force: end it at once; the steps after its last checkpoint are lost.

    Raises:
        ApiError: it has ended already (409), or as every call.
    """
    query = {"force": "true"} if force else None
    return Run.of((yield post(f"/training/{_id(run)}/stop", query=query)).json())


def resume(run: Run | str, **changes: Any) -> Steps[Run]:
    """Continue a run exactly where it stopped, or train it further.

    Args:
        run: the run or its id.
        changes: what shall be otherwise from here on, as ``POST /training/{id}/resume`` takes it: ``epochs``,
            ``total_iters``, ``minutes``, ...

    Raises:
        ApiError: it has not ended, or is complete and gets no new length (409); a change is not accepted (422).
    """
    return Run.of((yield post(f"/training/{_id(run)}/resume", json=changes)).json())


def publish(
    run: Run | str,
    name: str,
    *,
    direction: Literal["AtoB", "BtoA"] | None = None,
    step: int | Literal["last", "best"] = "last",
) -> Steps[int]:
    """Put what a run has trained into service as a model, and return the model's version.

    Args:
        run: the run or its id.
        name: of the model; one that was published before gets a new version.
        direction: of a CycleGAN; None for "AtoB".
        step: of the checkpoint.

    Raises:
        ApiError: there is no such checkpoint (409), or as every call.
    """
    asked = {"name": name, "step": step} | ({"direction": direction} if direction else {})
    return int((yield post(f"/training/{_id(run)}/publish", json=asked)).json()["version"])


def sample(run: Run | str, step: int | Literal["last"] = "last") -> Steps[bytes]:
    """A run's sample picture, as PNG.

    Raises:
        ApiError: there is none of this step (404), or as every call.
    """
    return bytes((yield Send("GET", f"/training/{_id(run)}/samples/{step}")).content)


def _id(run: Run | str) -> str:
    return run if isinstance(run, str) else run.id


def _zipped(folder: Path, archive: Path) -> Path:
    """The files of a folder in one zip. Pictures are compressed already."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            file.write(path, path.relative_to(folder).as_posix())
    return archive
