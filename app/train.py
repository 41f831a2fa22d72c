"""``doppel train``: a run in this terminal, by the same core as over HTTP."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pydantic

from models.training.launch import command
from models.training.options import CycleGANOptions, StarGANOptions
from models.training.run_folder import RunFolder

FAMILIES: dict[str, type[CycleGANOptions] | type[StarGANOptions]] = {
    "cyclegan": CycleGANOptions,
    "stargan": StarGANOptions,
}
HIDDEN = ("dataset", "family")


def options_of(family: str) -> dict[str, str]:
    """Name → description of the options that a run of this family takes."""
    fields = FAMILIES[family].model_fields
    return {name: field.description or "" for name, field in fields.items() if name not in HIDDEN}


def train(family: str, dataset: Path, output: Path, given: dict[str, Any], *, resume: bool) -> int:
    """Train in ``output``, with a progress bar; the exit status. Ctrl-C saves a checkpoint.

    Args:
        given: options by name, as they were typed.
        resume: go on with the run that is in ``output``.
    """
    run = RunFolder(output)
    if run.options_file.exists() and not resume:
        print(
            f"doppel: {output} holds a run already; go on with it by --resume, or name another folder", file=sys.stderr
        )
        return 2
    if resume and not run.options_file.exists():
        print(f"doppel: {output} holds no run to resume", file=sys.stderr)
        return 2
    if resume and given:
        print("doppel: a resumed run keeps its options; leave them out", file=sys.stderr)
        return 2
    if not resume:
        try:
            options = FAMILIES[family].model_validate({"dataset": dataset.resolve(), **given})
        except pydantic.ValidationError as error:
            for item in error.errors():
                name = "".join(f"--{part.replace('_', '-')}: " for part in map(str, item["loc"]))
                print(f"doppel: {name}{item['msg']}", file=sys.stderr)
            return 2
        output.mkdir(parents=True, exist_ok=True)
        run.options_file.write_text(options.model_dump_json(indent=1))
    process = subprocess.Popen(command(output))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the training was told too, and saves a checkpoint before it ends
