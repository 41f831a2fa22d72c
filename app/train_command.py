"""``doppel train``: train a run in this terminal, with the same code that trains over HTTP."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pydantic

from app.train_options import FAMILIES
from models.command_line import problems
from models.errors import Invalid, RunFolderError
from models.pictures import list_pictures
from models.process import on_stop_signal
from models.store.datasets import domain_folders
from models.store.options import Options
from models.store.run_changes import PLACES, add_change, check_length, with_change
from models.store.run_checks import total_steps
from models.store.run_choices import LENGTHS
from models.store.run_folder import RunFolder
from models.store.run_lock import is_locked
from models.store.run_pictures import check_pictures
from models.store.run_status import read_status
from models.training.launch import TrainingProcess


def train(family: str, dataset: Path, output: Path, given: dict[str, Any], *, resume: bool) -> int:
    """Train in ``output``, with a progress bar, and return the exit status. Ctrl-C saves a checkpoint.

    Args:
        given: option → value, as typed.
        resume: resume the run that is in ``output``, with what is ``given`` in place of its options.
    """
    run = RunFolder(output)
    try:
        existed = output.exists()
        if resume:
            _change_resumed(run, FAMILIES[family], dataset, given)
        else:
            _write_options(run, FAMILIES[family], dataset, given)
    except Invalid as error:
        for line in str(error).splitlines():
            print(f"doppel: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"doppel: {output} cannot be used as a run's folder: {error.strerror}", file=sys.stderr)
        return 2
    run.forget_stop()  # left behind by a process that was killed
    with TrainingProcess(run) as training:
        on_stop_signal(training.stop)
        training.start()
        status = training.wait()
    if status and not resume and not run.metrics_file.exists():
        # Nothing was trained, so the corrected command may use the same folder.
        if status == -signal.SIGTERM:  # an error has been printed already
            print("doppel: stopped before the first step; nothing was kept", file=sys.stderr)
        run.options_file.unlink()
        if not existed:
            shutil.rmtree(output, ignore_errors=True)
    return status if status >= 0 else 128 - status  # as a shell reports a signal


def _change_resumed(run: RunFolder, kind: type[Options], dataset: Path, given: dict[str, Any]) -> None:
    """Check that the run can be resumed with other options or from another place, and record what changes."""
    if not run.options_file.exists():
        raise Invalid(f"{run.path} holds no run to resume")
    try:
        before = run.options()
        status = read_status(run.path)
    except RunFolderError as error:
        raise Invalid(str(error)) from error
    if not isinstance(before, kind):
        raise Invalid(f"{run.path} holds a run of another family, {before.family}")
    if not dataset.is_dir():
        raise Invalid(f"{dataset} is not a folder")
    if is_locked(run.path):
        raise Invalid(f"{run.path} is being trained in by another process")
    checkpoints = run.checkpoints()
    reached = int(checkpoints[-1].stem) if checkpoints else 0
    if checkpoints:
        check_pictures(run.path, status.dataset_fingerprint if status else None, dataset)
    moved = {} if dataset.resolve() == before.dataset.resolve() else {"dataset": str(dataset.resolve())}
    try:
        options = with_change(before, {**given, **moved}, also=PLACES)
    except pydantic.ValidationError as error:
        raise Invalid("\n".join(problems(error))) from error
    if not LENGTHS.isdisjoint(given):
        pictures = {name: len(list_pictures(folder)) for name, folder in domain_folders(dataset).items()}
        steps = total_steps(options, dataset.name, pictures)
        assert steps is not None, "a length was given"
        check_length(options, reached, steps)
    if new := {**given, **moved}:
        typed = options.model_dump(mode="json")  # as numbers, not as text
        add_change(run.path, reached, {name: typed[name] for name in new})


def _write_options(run: RunFolder, kind: type[Options], dataset: Path, given: dict[str, Any]) -> None:
    if run.options_file.exists():
        raise Invalid(f"{run.path} already holds a run; resume it with --resume, or choose another folder")
    if not dataset.is_dir():
        raise Invalid(f"{dataset} is not a folder")
    try:
        options = kind.model_validate({"dataset": dataset.resolve(), **given})
    except pydantic.ValidationError as error:
        raise Invalid("\n".join(problems(error))) from error
    run.path.mkdir(parents=True, exist_ok=True)
    run.options_file.write_text(options.model_dump_json(indent=1))
