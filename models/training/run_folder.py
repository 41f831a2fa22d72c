"""All a run leaves behind, and the only truth about it.

options.json           what was asked for, written once
metrics.jsonl          a line a step: step, seconds, losses
samples/000500.png     pictures on fixed inputs
checkpoints/000500.pt  all that is needed to go on exactly; the last few are kept
"""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.pixels import Picture
from models.training.options import Options, read_options

KEPT_CHECKPOINTS = 2


class RunFolderError(Exception):
    """The folder is not a run, or belongs to another one; the message says which file is at fault."""


class RunFolder:
    """One run's folder. Files appear whole or not at all: each is written beside its place and renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options_file = path / "options.json"
        self.metrics_file = path / "metrics.jsonl"

    def options(self) -> Options:
        try:
            text = self.options_file.read_text()
        except FileNotFoundError:
            raise RunFolderError(f"{self.options_file} is missing: a run folder holds its options in it") from None
        try:
            return read_options(text)
        except json.JSONDecodeError as error:
            raise RunFolderError(f"{self.options_file} is not JSON: {error}") from error

    def checkpoints(self) -> list[Path]:
        """Checkpoint files, oldest first."""
        return sorted((self.path / "checkpoints").glob("*.pt"), key=lambda path: int(path.stem))

    def save_checkpoint(self, state: dict[str, Any]) -> Path:
        """Write ``state`` (with its ``step``) and drop the oldest beyond ``KEPT_CHECKPOINTS``."""
        target = self.path / "checkpoints" / f"{state['step']:06d}.pt"
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
            old.unlink()
        return target

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint's state on the CPU, or None before the first."""
        files = self.checkpoints()
        return load_state(files[-1]) if files else None

    def cut_back(self, step: int) -> None:
        """Forget metrics and samples later than ``step``, which a resumed run will produce again."""
        if self.metrics_file.exists():
            lines = self.metrics_file.read_text().splitlines(keepends=True)
            # A line that a crash cut short is later than any checkpoint, hence dropped too.
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            part = self.metrics_file.with_suffix(".part")
            part.write_text("".join(kept))
            part.replace(self.metrics_file)
        for sample in (self.path / "samples").glob("*.png"):
            if int(sample.stem) > step:
                sample.unlink()

    def append_metrics(self, record: dict[str, float]) -> None:
        with self.metrics_file.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def save_sample(self, step: int, picture: Picture) -> Path:
        target = self.path / "samples" / f"{step:06d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        Image.fromarray(picture).save(part, format="PNG")
        part.replace(target)
        return target


def load_state(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU; tensors and plain values only, no code."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise RunFolderError(f"{path} is not a checkpoint that can be read: {error}") from error
    return state
