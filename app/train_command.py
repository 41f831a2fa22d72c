"""``doppel train``: a run in this terminal, by the same core as over HTTP."""

import shutil
import signal
import subprocess
import sys
import typing
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pydantic

from models.errors import Invalid, RunFolderError
from models.store.options import CycleGANOptions, StarGANOptions
from models.store.run_folder import RunFolder
from models.training.launch import command

FAMILIES: dict[str, type[CycleGANOptions] | type[StarGANOptions]] = {
    "cyclegan": CycleGANOptions,
    "stargan": StarGANOptions,
}
HIDDEN = ("dataset", "family")


def options_of(family: str) -> dict[str, str]:
    """Name → description, choices and default of the options that a run of this family takes."""
    fields = FAMILIES[family].model_fields
    return {name: _described(field) for name, field in fields.items() if name not in HIDDEN}


def _described(field: pydantic.fields.FieldInfo) -> str:
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
    parts = [
        field.description or "",
        " or ".join(choices),
        "" if field.default is None else f"default: {field.default}",
    ]
    return "; ".join(part for part in parts if part)


def train(family: str, dataset: Path, output: Path, given: dict[str, Any], *, resume: bool) -> int:
    """Train in ``output``, with a progress bar; the exit status. Ctrl-C saves a checkpoint.

    Args:
        given: options by name, as they were typed.
        resume: go on with the run that is in ``output``.
    """
    run = RunFolder(output)
    try:
        there = output.exists()
        if resume:
            _check_resumed(run, FAMILIES[family], dataset, given)
        else:
            _write_options(run, FAMILIES[family], dataset, given)
    except Invalid as error:
        for line in str(error).splitlines():
            print(f"doppel: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"doppel: {output} cannot be the folder of a run: {error.strerror}", file=sys.stderr)
        return 2
    status = _watch(run)
    if status and not resume and not run.metrics_file.exists():
        # Nothing was trained: the command can be given again, mended.
        if status == -signal.SIGTERM:  # an error says itself what was wrong
            print("doppel: ended before the first step, and nothing was kept", file=sys.stderr)
        run.options_file.unlink()
        if not there:
            shutil.rmtree(output, ignore_errors=True)
    return status if status >= 0 else 128 - status  # as a shell tells of a signal


def _check_resumed(
    run: RunFolder, kind: type[CycleGANOptions] | type[StarGANOptions], dataset: Path, given: dict[str, Any]
) -> None:
    if not run.options_file.exists():
        raise Invalid(f"{run.path} holds no run to resume")
    if given:
        raise Invalid("a resumed run keeps its options; leave them out")
    try:
        options = run.options()
    except RunFolderError as error:
        raise Invalid(str(error)) from error
    trained_on = options.dataset
    if not isinstance(options, kind):
        raise Invalid(f"{run.path} holds a run of another family, {options.family}")
    if dataset.resolve() != trained_on.resolve():
        raise Invalid(f"{run.path} trains on {trained_on}; a resumed run keeps its pictures")


def _write_options(
    run: RunFolder, kind: type[CycleGANOptions] | type[StarGANOptions], dataset: Path, given: dict[str, Any]
) -> None:
    if run.options_file.exists():
        raise Invalid(f"{run.path} holds a run already; go on with it by --resume, or name another folder")
    if not dataset.is_dir():
        raise Invalid(f"{dataset} is no folder")
    try:
        options = kind.model_validate({"dataset": dataset.resolve(), **given})
    except pydantic.ValidationError as error:
        lines = []
        for item in error.errors():
            name = "".join(f"--{part.replace('_', '-')}: " for part in map(str, item["loc"]))
            lines.append(f"{name}{item['msg'].removeprefix('Value error, ')}")
        raise Invalid("\n".join(lines)) from error
    run.path.mkdir(parents=True, exist_ok=True)
    run.options_file.write_text(options.model_dump_json(indent=1))


def _watch(run: RunFolder) -> int:
    """Train to the run's end. What asks this process to end asks the training, which saves a checkpoint first."""
    run.forget_stop()  # of a process that was killed before it could
    process: subprocess.Popen[bytes] | None = None
    several = run.options().gpus > 1
    asked = False

    def pass_on(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        gently, asked = several and not asked, True
        try:
            if gently:
                run.request_stop()  # a torchrun that gets a signal ends with a traceback, whatever its processes do
        except OSError:
            gently = False
        if process is not None and not gently:
            process.terminate()

    signal.signal(signal.SIGINT, pass_on)
    signal.signal(signal.SIGTERM, pass_on)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, pass_on)
    # Torchrun hears what a terminal tells all of its processes, unless it is in a session of its own.
    process = subprocess.Popen(
        command(run.path),
        preexec_fn=_hear_no_interrupt,  # noqa: PLW1509, there are no threads
        start_new_session=several,
    )
    if asked and not several:
        process.terminate()
    status = process.wait()
    if asked:
        run.forget_stop()
    return status


def _hear_no_interrupt() -> None:
    """Until the training listens, a Ctrl-C would break off whatever it is importing; it is told by SIGTERM instead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
