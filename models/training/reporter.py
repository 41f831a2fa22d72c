"""Keeps a run's status.json true while it runs, and its curves for TensorBoard."""

import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from models.store.run_status import Alarm, Quality, RunState, RunStatus, now, write_status
from models.training.board import Board

WRITE_EVERY_S = 1.0
SMOOTHING = 0.98  # share of the past that a smoothed loss keeps at each step
RATE_SMOOTHING = 0.9


class Reporter:
    """One attempt's reports. ``status`` is what has been said so far, by earlier attempts too."""

    def __init__(self, folder: Path, status: RunStatus, *, batch_size: int) -> None:
        self.folder = folder
        self.status = status
        self._batch_size = batch_size
        self._board: Board | None = None
        self._gpu: torch.device | None = None
        self._seconds_per_step: float | None = None
        self._last_step_at = time.monotonic()
        self._written_at = 0.0

    def begin(self, step: int, device: torch.device) -> None:
        """The attempt goes on from this step, on this device; what was told of later steps is taken back."""
        self._board = Board(self.folder, step + 1)
        self._gpu = device if device.type == "cuda" else None
        self.status.device = str(device)
        self.status.step = step
        self.write()
        self.paused()

    def stepped(self, step: int, losses: Mapping[str, float], rates: Mapping[str, float]) -> None:
        """A step was done."""
        moment = time.monotonic()
        spent, self._last_step_at = moment - self._last_step_at, moment
        status = self.status
        if self._seconds_per_step is None:
            self._seconds_per_step = spent  # the first takes longer than the others; it fades away
        self._seconds_per_step += (1 - RATE_SMOOTHING) * (spent - self._seconds_per_step)
        status.step = step
        status.losses = {name: round(loss, 5) for name, loss in losses.items()}
        for name, loss in losses.items():
            past = status.smoothed.get(name, loss)
            status.smoothed[name] = round(SMOOTHING * past + (1 - SMOOTHING) * loss, 6)
        status.learning_rate = rates.get("learning_rate")
        status.lambda_ds = rates.get("lambda_ds")
        status.images_per_s = round(self._batch_size / self._seconds_per_step, 3)
        status.eta_s = round((status.total_steps - step) * self._seconds_per_step, 1)
        if self._gpu is not None:
            status.gpu_memory_mb = round(torch.cuda.max_memory_allocated(self._gpu) / 2**20, 1)
        if self._board is not None:
            self._board.plot(step, {**losses, **rates})
        if moment - self._written_at > WRITE_EVERY_S:
            self.write()

    def alarm(self, alarm: Alarm) -> None:
        """Say it once for each kind and subject."""
        known = {(said.kind, said.detail.split(":")[0]) for said in self.status.alarms}
        if (alarm.kind, alarm.detail.split(":")[0]) not in known:
            self.status.alarms.append(alarm)
            self.write()

    def measured(self, quality: Quality) -> None:
        """Keep the figures, and which checkpoint is the best by the first of them."""
        self.status.quality = [said for said in self.status.quality if said.step < quality.step] + [quality]
        ranked = {said.step: next(iter(said.figures.values()), math.inf) for said in self.status.quality}
        self.status.best_checkpoint = min(ranked, key=lambda step: ranked[step])
        if self._board is not None:
            figures = {f"held_out/{name.replace(' ', '_')}": value for name, value in quality.figures.items()}
            self._board.plot(quality.step, figures)
        self.write()

    def flush(self) -> None:
        """Have all curves on disk. A resumed attempt begins at the checkpoint, and plots nothing before it again."""
        if self._board is not None:
            self._board.flush()

    def paused(self) -> None:
        """Something other than a step took time: it does not count as a step's."""
        self._last_step_at = time.monotonic()

    def ended(self, state: RunState, error: str | None = None) -> None:
        """The attempt is over."""
        self.status.status = state
        self.status.error = error
        self.status.eta_s = 0.0 if state is RunState.SUCCEEDED else None
        self.status.finished_at = now() if state.ended else None
        self.write()
        if self._board is not None:
            with contextlib.suppress(OSError):  # all else is said
                self._board.close()

    def write(self) -> None:
        self._written_at = time.monotonic()
        write_status(self.folder, self.status)
