"""All a run leaves behind, and the only truth about it. Loads no torch.

options.json           what was asked for, written once
status.json            where it stands (status.py)
metrics.jsonl          a line a step: step, seconds, losses
log.txt                what its processes printed
samples/000500.png     pictures on fixed inputs
checkpoints/000500.pt  all that is needed to go on exactly; the last few and the best are kept
exports/000500/        the same step's generators alone, ready to be published: NAME.safetensors
events.out.tfevents.*  the metrics for TensorBoard
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from models.errors import RunFolderError
from models.store.options import Options, read_options

STOP_FILE = "stop"  # exists while a person wants the run stopped


class RunFolder:
    """One run's folder. Files appear whole or not at all: each is written beside its place and renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options_file = path / "options.json"
        self.metrics_file = path / "metrics.jsonl"
        self.log_file = path / "log.txt"

    def options(self) -> Options:
        try:
            text = self.options_file.read_text()
        except FileNotFoundError:
            raise RunFolderError(f"{self.path} holds no {self.options_file.name}, so it is no run") from None
        try:
            return read_options(text)
        except json.JSONDecodeError as error:
            raise RunFolderError(f"The options.json of the run {self.path.name} is not JSON: {error}") from error
        except ValidationError as error:
            raise RunFolderError(f"The run {self.path.name} has options that are none here: {error}") from error

    def checkpoints(self) -> list[Path]:
        """Checkpoint files, oldest first."""
        return self._by_step("checkpoints", "*.pt")

    def _by_step(self, folder: str, pattern: str) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):  # of a run that is removed meanwhile
            return sorted((self.path / folder).glob(pattern), key=lambda path: int(path.stem))
        return []

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:06d}.pt"

    def export_path(self, step: int) -> Path:
        """The folder of a checkpoint's generators."""
        return self.path / "exports" / f"{step:06d}"

    def drop_checkpoints(self, *, keep: int, best: int | None) -> None:
        """Remove the oldest checkpoints beyond ``keep``, but for the best, and with each its exports."""
        for old in self.checkpoints()[:-keep]:
            if int(old.stem) != best:
                old.unlink()
                shutil.rmtree(self.export_path(int(old.stem)), ignore_errors=True)

    def samples(self) -> list[int]:
        """Steps that there are sample pictures of, in their order."""
        return [int(path.stem) for path in self._by_step("samples", "*.png")]

    def sample_path(self, step: int) -> Path:
        return self.path / "samples" / f"{step:06d}.png"

    def cut_back(self, step: int) -> None:
        """Forget metrics and samples later than ``step``, which a resumed run will produce again."""
        if self.metrics_file.exists():
            part = self.metrics_file.with_suffix(".part")
            with self.metrics_file.open() as file, part.open("w") as shortened:
                # A line that a crash cut short is later than any checkpoint, hence dropped too.
                shortened.writelines(line for line in file if line.endswith("\n") and json.loads(line)["step"] <= step)
            part.replace(self.metrics_file)
        for later in self.samples():
            if later > step:
                self.sample_path(later).unlink()
        kept = {path.stem for path in self.checkpoints()}
        for exported in (self.path / "exports").glob("*"):
            if exported.name not in kept:  # of a checkpoint that a kill cut short
                shutil.rmtree(exported, ignore_errors=True)
        for folder in ("checkpoints", "samples"):
            for part in (self.path / folder).glob("*.part"):
                part.unlink()

    def append_metrics(self, record: dict[str, float]) -> None:
        with self.metrics_file.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self, *, after_step: int = 0) -> Iterator[dict[str, float]]:
        """The records of the steps after ``after_step``; a line that is being written is left out."""
        try:
            file = self.metrics_file.open()
        except FileNotFoundError:
            return
        with file:
            for line in file:
                if line.endswith("\n") and (record := json.loads(line))["step"] > after_step:
                    yield record

    def save_sample(self, step: int, picture: NDArray[np.uint8]) -> Path:
        """Keep a picture (H, W, 3), RGB."""
        target = self.sample_path(step)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        Image.fromarray(picture).save(part, format="PNG")
        part.replace(target)
        return target

    def request_stop(self) -> None:
        """Have the run stop at the end of the step in hand."""
        (self.path / STOP_FILE).touch()

    def forget_stop(self) -> None:
        (self.path / STOP_FILE).unlink(missing_ok=True)

    @property
    def stop_requested(self) -> bool:
        return os.path.exists(self.path / STOP_FILE)


class MetricsTail:
    """The metrics that were added since one last looked, read once each.

    Args:
        after_step: only those of later steps.
    """

    def __init__(self, run: RunFolder, *, after_step: int) -> None:
        self._file = run.metrics_file
        self.step = after_step
        self._offset = 0
        self._inode = 0

    def read(self) -> list[dict[str, float]]:
        """New records; those that a resumed run makes again are not told twice."""
        try:
            with self._file.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:  # cut back by a run that was resumed
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            if not line.endswith(b"\n"):
                break  # being written
            self._offset += len(line)
            record = json.loads(line)
            if record["step"] > self.step:
                self.step = int(record["step"])
                records.append(record)
        return records
