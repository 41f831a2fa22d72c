"""The folder of a run. It is the only record of the run that counts. Loads no torch.

options.json           the options it was started with, written once (options.py)
changes.json           what was changed when it was resumed (run_changes.py)
pictures.json          the pictures it trains on (run_pictures.py)
status.json            its state (run_status.py)
metrics.jsonl          a line for each step: step, seconds, losses (metrics.py)
log.txt                the output of its processes
ballast                nothing; it makes way for the last status of an attempt on a full disk (../training/reporter.py)
samples/000500.png     sample pictures on fixed inputs; 000500.json says what is where (samples.py). A long run keeps
                       the newest and an even selection of the older ones
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
from models.store.metrics import MetricsFile, Record
from models.store.options import Options, parse_options
from models.store.run_changes import changed, read_changes
from models.store.samples import SampleRow, rows_path, save_sheet, to_drop

STOP_FILE = "stop"  # exists while a person wants the run stopped
BALLAST_FILE = "ballast"


class RunFolder:
    """The folder of one run. Readers see each file whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options_file = path / "options.json"
        self.metrics_file = path / "metrics.jsonl"
        self.recorded = MetricsFile(self.metrics_file)
        self.log_file = path / "log.txt"

    def options(self) -> Options:
        """The run's options, as they are now: those it was started with, and what was changed since.

        Raises:
            RunFolderError: there are none, or they can't be read.
        """
        try:
            text = self.options_file.read_text()
        except FileNotFoundError:
            raise RunFolderError(f"{self.path.name} has no {self.options_file.name}, so it is not a run") from None
        try:
            content = json.loads(text)
            changes = [change.options for change in read_changes(self.path)]
            return parse_options(changed(content, changes) if changes else content)
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
        self.recorded.cut_back(step)
        for path in (self.path / "samples").glob("[0-9]*"):
            if int(path.stem) > step:
                path.unlink()
        kept = {path.stem for path in self.checkpoints()}
        for exported in (self.path / "exports").glob("*"):
            if exported.name not in kept:  # the attempt was killed before it wrote the checkpoint
                shutil.rmtree(exported, ignore_errors=True)
        # see files.replacing
        for part in (path for folder in ("", "checkpoints", "samples") for path in (self.path / folder).glob(".*")):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)  # see training/pace.py
            else:
                part.unlink()

    def append_metrics(self, record: Record) -> None:
        """Add the record of a step."""
        self.recorded.append(record)

    def metrics(self, *, after_step: int = 0) -> Iterator[Record]:
        """The records of the steps after ``after_step``, one by one."""
        return self.recorded.read(after_step=after_step)

    def save_sample(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Save the sample picture of a step."""
        save_sheet(self.sample_path(step), rows)

    def drop_samples(self, *, every: int) -> None:
        """Remove the older sample pictures that are too many.

        Args:
            every: steps from one sample picture to the next.
        """
        for old in to_drop(self.samples(), every):
            self.sample_path(old).unlink()
            rows_path(self.sample_path(old)).unlink(missing_ok=True)

    def request_stop(self) -> None:
        """Ask the run to stop after the current step."""
        (self.path / STOP_FILE).touch()

    def forget_stop(self) -> None:
        """Take a request to stop back."""
        (self.path / STOP_FILE).unlink(missing_ok=True)

    @property
    def stop_requested(self) -> bool:
        return os.path.exists(self.path / STOP_FILE)
