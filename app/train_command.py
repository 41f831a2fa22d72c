"""``doppel train``: train a run in this terminal, with the same code that trains over HTTP."""

import argparse
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pydantic

from models.command_line import Arguments, problems
from models.errors import Invalid, RunFolderError
from models.process import on_stop_signal
from models.store.options import CycleGANOptions, StarGANOptions
from models.store.run_folder import RunFolder
from models.training.launch import TrainingProcess

Kind = type[CycleGANOptions] | type[StarGANOptions]

FAMILIES: dict[str, Kind] = {"cyclegan": CycleGANOptions, "stargan": StarGANOptions}


def options_of(family: str, parser: argparse.ArgumentParser) -> Arguments[Any]:
    """Add the options of a family's runs to its parser."""
    return Arguments(parser, FAMILIES[family], exclude=("dataset", "family"))


def train(family: str, dataset: Path, output: Path, given: dict[str, Any], *, resume: bool) -> int:
    """Train in ``output``, with a progress bar, and return the exit status. Ctrl-C saves a checkpoint.

    Args:
        given: option → value, as typed.
        resume: resume the run that is in ``output``.
    """
    run = RunFolder(output)
    try:
        existed = output.exists()
        if resume:
            _check_resumed(run, FAMILIES[family], dataset, given)
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


def _check_resumed(run: RunFolder, kind: Kind, dataset: Path, given: dict[str, Any]) -> None:
    if not run.options_file.exists():
        raise Invalid(f"{run.path} holds no run to resume")
    if given:
        raise Invalid("a resumed run keeps its options; leave them out")
    try:
        options = run.options()
    except RunFolderError as error:
        raise Invalid(str(error)) from error
    if not isinstance(options, kind):
        raise Invalid(f"{run.path} holds a run of another family, {options.family}")
    if dataset.resolve() != options.dataset.resolve():
        raise Invalid(f"{run.path} trains on {options.dataset}; a resumed run keeps its pictures")


def _write_options(run: RunFolder, kind: Kind, dataset: Path, given: dict[str, Any]) -> None:
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
