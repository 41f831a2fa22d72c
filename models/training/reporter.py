"""Keeps a run's status.json up to date while it trains, and writes its curves for TensorBoard."""

import contextlib
import itertools
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from models.store.disk import Ballast
from models.store.run_folder import BALLAST_FILE
from models.store.run_status import Alarm, Quality, RunState, RunStatus, best_measured, now, write_status

WRITE_EVERY_S = 1.0
FLUSH_CURVES_EVERY_S = 10
SMOOTHING = 0.98  # share of the past in a smoothed loss, at each step
RATE_SMOOTHING = 0.9
MAX_PASSED_OVER = 20  # alarms about pictures
BALLAST_BYTES = 256 << 10  # more than a status has, also one with many measurements


class Reporter:
    """Reports on one attempt at a run. ``status`` holds what earlier attempts reported.

    Every method that writes raises OSError when the disk is full. A ballast in the folder makes way at the end of the
    attempt, so that the status can say how it ended.
    """

    def __init__(self, folder: Path, status: RunStatus, *, batch_size: int) -> None:
        self.folder = folder
        self.status = status
        self._batch_size = batch_size
        self._curves: SummaryWriter | None = None
        self._gpu: torch.device | None = None
        self._seconds_per_step: float | None = None
        self._last_step_at = time.monotonic()
        self._written_at = 0.0
        self._passed_over = 0  # pictures that were reported
        self._ballast = Ballast(folder / BALLAST_FILE, BALLAST_BYTES)
        with contextlib.suppress(OSError):  # the training may do without
            self._ballast.adjust()

    def begin(self, step: int, device: torch.device) -> None:
        """Start, or go on after ``step``. Curves that an earlier attempt drew beyond it are discarded."""
        self._curves = SummaryWriter(str(self.folder), purge_step=step + 1, flush_secs=FLUSH_CURVES_EVERY_S)
        self._gpu = device if device.type == "cuda" else None
        self.status.device = str(device)
        self.status.step = step
        self.write()
        self.paused()

    def stepped(self, step: int, losses: Mapping[str, float], rates: Mapping[str, float]) -> None:
        """Report a step."""
        moment = time.monotonic()
        spent, self._last_step_at = moment - self._last_step_at, moment
        status = self.status
        if self._seconds_per_step is None:
            self._seconds_per_step = spent  # the first step takes longer than the others; its weight fades
        self._seconds_per_step += (1 - RATE_SMOOTHING) * (spent - self._seconds_per_step)
        status.step = step
        status.losses = {name: round(loss, 5) for name, loss in losses.items()}
        # Only losses that this step has: a run that began with identity_steps no longer has those of that time.
        status.smoothed = {
            name: round(SMOOTHING * status.smoothed.get(name, loss) + (1 - SMOOTHING) * loss, 6)
            for name, loss in losses.items()
        }
        status.learning_rate = rates.get("learning_rate")
        status.lambda_ds = rates.get("lambda_ds")
        status.images_per_s = round(self._batch_size / self._seconds_per_step, 3)
        status.eta_s = round((status.total_steps - step) * self._seconds_per_step, 1)
        if self._gpu is not None:
            status.gpu_memory_mb = round(torch.cuda.max_memory_allocated(self._gpu) / 2**20, 1)
        self._plot(step, {**losses, **rates})
        if moment - self._written_at > WRITE_EVERY_S:
            self.write()

    def alarm(self, alarm: Alarm) -> None:
        """Report an alarm, unless there is one of its kind with the same subject."""
        if (alarm.kind, alarm.subject) not in {(known.kind, known.subject) for known in self.status.alarms}:
            self.status.alarms.append(alarm)
            self.write()

    def passed_over(self, unreadable: Mapping[str, str]) -> None:
        """Report the pictures that are not trained on, by path with the reason. The first ones: the log has all."""
        for path, why in itertools.islice(unreadable.items(), self._passed_over, MAX_PASSED_OVER):
            detail = f"{path} {why}, so others are taken in its place; leave it where it is until the run has ended"
            self.alarm(Alarm(kind="unreadable picture", subject=path, step=self.status.step, detail=detail))
        self._passed_over = len(unreadable)

    def measured(self, quality: Quality) -> None:
        """Report the quality of a checkpoint. The one with the highest score is the best."""
        self.status.quality = [earlier for earlier in self.status.quality if earlier.step < quality.step] + [quality]
        self.status.best_checkpoint = best_measured(self.status.quality)
        self._plot(
            quality.step, {f"held_out/{name.replace(' ', '_')}": value for name, value in quality.figures.items()}
        )
        self.write()

    def _plot(self, step: int, values: Mapping[str, float]) -> None:
        if self._curves is not None:
            for name, value in values.items():
                self._curves.add_scalar(name, value, step)  # raises what its thread failed with

    def flush(self) -> None:
        """Write all curves to disk: a resumed attempt begins at a checkpoint, and draws nothing before it again."""
        if self._curves is not None:
            self._curves.flush()

    def paused(self) -> None:
        """Don't count the time since the last step: something else took it."""
        self._last_step_at = time.monotonic()

    def ended(self, state: RunState, error: str | None = None) -> None:
        """Report the end of the attempt."""
        self.status.status = state
        self.status.error = error
        self.status.eta_s = 0.0 if state is RunState.SUCCEEDED else None
        self.status.finished_at = now() if state.ended else None
        self._ballast.drop()
        self.write()
        if self._curves is not None:
            with contextlib.suppress(OSError):  # the status, which matters more, is written
                self._curves.close()

    def write(self) -> None:
        """Write the status."""
        self._written_at = time.monotonic()
        write_status(self.folder, self.status)
