"""The folder of a run. It is the only record of the run that counts. Loads no torch.

options.json           the run's options, written once (options.py)
status.json            its state (run_status.py)
metrics.jsonl          a line for each step: step, seconds, losses
log.txt                the output of its processes
samples/000500.png     sample pictures on fixed inputs; 000500.json says what is where (samples.py)
checkpoints/000500.pt  everything that is needed to resume exactly; the newest few and the best are kept
exports/000500/        the generators of the same step, ready to be published: NAME.safetensors
events.out.tfevents.*  the metrics for TensorBoard
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from models.errors import RunFolderError
from models.store.files import replacing
from models.store.film import FILM_FILE
from models.store.options import Options, read_options
from models.store.samples import SampleRow, save_sheet

STOP_FILE = "stop"  # exists while a person wants the run stopped


class RunFolder:
    """The folder of one run. Readers see each file whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options_file = path / "options.json"
        self.metrics_file = path / "metrics.jsonl"
        self.log_file = path / "log.txt"

    def options(self) -> Options:
        """The run's options.

        Raises:
            RunFolderError: there are none, or they can't be read.
        """
        try:
            text = self.options_file.read_text()
        except FileNotFoundError:
            raise RunFolderError(f"{self.path} has no {self.options_file.name}, so it is not a run") from None
        try:
            return read_options(text)
        except json.JSONDecodeError as error:
            raise RunFolderError(f"The options.json of the run {self.path.name} is not JSON: {error}") from error
        except ValidationError as error:
            raise RunFolderError(f"The run {self.path.name} has options that can't be used: {error}") from error

    def checkpoints(self) -> list[Path]:
        """Checkpoint files, oldest first."""
        return self._by_step("checkpoints", "*.pt")

    def _by_step(self, folder: str, pattern: str) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):  # the run may be removed at any time
            return sorted((self.path / folder).glob(pattern), key=lambda path: int(path.stem))
        return []

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:06d}.pt"

    def export_path(self, step: int) -> Path:
        """The folder with the generators of the checkpoint of this step."""
        return self.path / "exports" / f"{step:06d}"

    def drop_checkpoints(self, *, keep: int, best: int | None) -> None:
        """Remove all checkpoints but the newest ``keep`` and the one of the step ``best``, each with its exports."""
        for old in self.checkpoints()[:-keep]:
            if int(old.stem) != best:
                old.unlink()
                shutil.rmtree(self.export_path(int(old.stem)), ignore_errors=True)

    def samples(self) -> list[int]:
        """The steps that have a sample picture, in order."""
        return [int(path.stem) for path in self._by_step("samples", "*.png")]

    def sample_path(self, step: int) -> Path:
        return self.path / "samples" / f"{step:06d}.png"

    def cut_back(self, step: int) -> None:
        """Remove metrics and samples of later steps than ``step``, and files that a killed attempt left half-done."""
        if self.metrics_file.exists():
            with replacing(self.metrics_file) as part, self.metrics_file.open() as file, part.open("w") as shortened:
                # A line that a crash cut short is later than any checkpoint.
                shortened.writelines(line for line in file if line.endswith("\n") and json.loads(line)["step"] <= step)
        for path in (self.path / "samples").glob("[0-9]*"):
            if int(path.stem) > step:
                path.unlink()
        kept = {path.stem for path in self.checkpoints()}
        for exported in (self.path / "exports").glob("*"):
            if exported.name not in kept:  # the attempt was killed before it wrote the checkpoint
                shutil.rmtree(exported, ignore_errors=True)
        half_done = (
            f".{self.metrics_file.name}.*",
            f".{FILM_FILE}.*",
            "checkpoints/.*",
            "samples/.*",
        )  # see files.replacing
        for part in (path for pattern in half_done for path in self.path.glob(pattern)):
            part.unlink()

    def append_metrics(self, record: dict[str, float]) -> None:
        """Add the record of a step."""
        with self.metrics_file.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self, *, after_step: int = 0) -> Iterator[dict[str, float]]:
        """The records of the steps after ``after_step``, without a line that is still being written."""
        try:
            file = self.metrics_file.open()
        except FileNotFoundError:
            return
        with file:
            for line in file:
                if line.endswith("\n") and (record := json.loads(line))["step"] > after_step:
                    yield record

    def save_sample(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Save the sample picture of a step."""
        save_sheet(self.sample_path(step), rows)

    def request_stop(self) -> None:
        """Ask the run to stop after the current step."""
        (self.path / STOP_FILE).touch()

    def forget_stop(self) -> None:
        """Take a request to stop back."""
        (self.path / STOP_FILE).unlink(missing_ok=True)

    @property
    def stop_requested(self) -> bool:
        return os.path.exists(self.path / STOP_FILE)


class MetricsTail:
    """Reads the metrics that were added since the last look, each once.

    Args:
        after_step: skip steps up to this one.
    """

    def __init__(self, run: RunFolder, *, after_step: int) -> None:
        self._file = run.metrics_file
        self.step = after_step
        self._offset = 0
        self._inode = 0

    def read(self) -> list[dict[str, float]]:
        """New records, without those of steps that a resumed run repeats."""
        try:
            with self._file.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:  # a resumed run has replaced the file
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            if not line.endswith(b"\n"):
                break  # still being written
            self._offset += len(line)
            record = json.loads(line)
            if record["step"] > self.step:
                self.step = int(record["step"])
                records.append(record)
        return records
