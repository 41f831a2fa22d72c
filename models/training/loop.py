"""The training loop, for any trainer. It knows neither the families nor the queue."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from models.errors import CannotWrite, Diverged
from models.pictures import Picture
from models.store.files import is_full
from models.store.film import save_film
from models.store.run_choices import RunChoices
from models.store.run_folder import RunFolder
from models.store.samples import SampleRow
from models.training import alarms, distributed
from models.training.alarms import DiscriminatorWatch, Translations
from models.training.checkpoints import load_checkpoint, save_checkpoint
from models.training.evaluation import Evaluation, quality
from models.training.reporter import Reporter
from models.weights.architecture import StateDict

Losses = dict[str, float]


class Trainer(Protocol):
    """The networks, optimizers and training step of one family."""

    networks: torch.nn.ModuleDict
    device: torch.device

    def step(self, batch: Any, progress: int) -> dict[str, torch.Tensor]:
        """Train on one batch, after ``progress`` steps; the losses of this step by name, each a scalar.

        They are read by what is launched before the next step.
        """

    def rates(self, progress: int) -> dict[str, float]:
        """The learning rate after ``progress`` steps, and weights of losses that change over time."""

    @property
    def undecided(self) -> dict[str, dict[str, float]]:
        """Subject of an alarm → the discriminator's losses there → their values when it can't tell at all.

        The subject is the discriminator's name or, where one judges with several kinds of guide, the kind.
        """

    def sample(self, domains: Sequence[str]) -> tuple[list[SampleRow], Translations]:
        """The run's fixed inputs and what the generators make of them now, row by row; and the same as tensors.

        Args:
            domains: names, for the labels.
        """

    def film(self) -> list[Picture]:
        """Frames of the fixed inputs while their style changes; empty for a family without styles."""

    def evaluate(self, held_out: Sequence[torch.Tensor]) -> Evaluation:
        """Translate pictures that were never trained on, (N, 3, S, S) for each domain, there and back."""

    def exports(self) -> dict[str, StateDict]:
        """The generators' weights by name, in the form in which they are published."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs to resume exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def start_from(self, state: dict[str, Any]) -> None:
        """Take over the networks, and nothing else, from the state of another run."""

    def start_from_weights(self, path: Path) -> None:
        """Take over the networks that a file of published weights has."""


def steps_ahead(device: torch.device) -> int:
    """How many steps are launched before the losses of one are read: a GPU computes one while the last is recorded."""
    return 1 if device.type == "cuda" else 0


class _Launched:
    """A step whose losses may not be computed yet. No later step delays their copy."""

    def __init__(self, terms: dict[str, torch.Tensor]) -> None:
        self._names = list(terms)
        values = torch.stack(list(terms.values()))
        self._values = values.to("cpu", non_blocking=values.is_cuda)
        self._copied = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def losses(self) -> Losses:
        if self._copied is not None:
            self._copied.synchronize()
        return dict(zip(self._names, self._values.tolist(), strict=True))


class Loop:
    """Trains a run, starting at the newest checkpoint in its folder.

    A run that is stopped or killed and then resumed does exactly what an uninterrupted one would have done, on a CPU
    bit for bit. If several processes train together, all compute and only the first one writes.

    Args:
        reporter: None in the processes that don't write.
        held_out: (N, 3, S, S) of each domain in [-1, 1], never trained on; empty: quality is not measured.
    """

    def __init__(
        self,
        run: RunFolder,
        trainer: Trainer,
        *,
        total_steps: int,
        choices: RunChoices,
        reporter: Reporter | None,
        held_out: Sequence[torch.Tensor],
    ) -> None:
        self._run = run
        self._trainer = trainer
        self._total_steps = total_steps
        self._choices = choices
        self._reporter = reporter
        self._held_out = held_out
        state = load_checkpoint(run)
        self.step = state["step"] if state else 0
        self._saved = self.step
        self.smoothed: Losses = state.get("smoothed", {}) if state else {}
        self._watch = DiscriminatorWatch(trainer.undecided, state.get("winning_since", {}) if state else {})
        if state:
            trainer.load_state_dict(state["trainer"])

    def train(
        self,
        batches: Callable[[int, int], Generator[Any]],
        *,
        on_progress: Callable[[int, Losses], None],
        should_stop: Callable[[], bool],
    ) -> int:
        """Train to the last step, or until ``should_stop`` is true after a step, and save a checkpoint at the end.

        Args:
            batches: (steps done, last step) → one batch for each step.
            on_progress: called after each step with its number and its losses.

        Returns:
            The number of the last step that was done.

        Raises:
            Diverged: a loss is not finite; nothing of that step is kept.
            CannotWrite: the disk is full.
            DatasetError: a picture is missing or damaged.
        """
        try:
            if self._reporter:
                self._run.cut_back(self.step)
            with contextlib.closing(batches(self.step, self._total_steps)) as source:
                self._train(source, on_progress, should_stop)
        except OSError as error:
            if not is_full(error):
                raise
            raise CannotWrite(error, f"Training stopped at step {self.step}. {self._last_checkpoint()}") from error
        return self.step

    def _train(
        self,
        batches: Iterator[Any],
        on_progress: Callable[[int, Losses], None],
        should_stop: Callable[[], bool],
    ) -> None:
        trained_s = 0.0
        if self._reporter:
            self._measure(self._reporter)  # the attempt before may have been killed after its checkpoint
            trained_s = next((record["seconds"] for record in self._run.recorded.thinned(points=1)), 0.0)
        started = time.perf_counter() - trained_s
        ahead = steps_ahead(self._trainer.device)
        launched: deque[_Launched] = deque()
        for batch in batches:
            launched.append(_Launched(self._trainer.step(batch, progress=self.step + len(launched))))
            # What is due after a step needs the networks as they are then.
            behind = 0 if self._anything_is_due(self.step + len(launched)) else ahead
            while len(launched) > behind:
                self._finish(launched.popleft(), started, on_progress)
            if distributed.agreed(should_stop()):
                break
        for last in launched:
            self._finish(last, started, on_progress)
        if self._saved != self.step:
            self._save()
        if self._reporter and self.step == self._total_steps and (frames := self._trainer.film()):
            save_film(self._run.path, frames)

    def _finish(self, launched: "_Launched", started: float, on_progress: Callable[[int, Losses], None]) -> None:
        """Wait for the losses of the next step, and do what is due after it."""
        losses = distributed.mean(launched.losses())
        if broken := [f"{name} is {loss}" for name, loss in losses.items() if not math.isfinite(loss)]:
            raise Diverged(f"Stopped at step {self.step + 1}: {', '.join(broken)}. {self._last_checkpoint()}")
        self.step += 1
        if self._reporter:
            seconds = round(time.perf_counter() - started, 3)
            self._run.append_metrics({"step": self.step, "seconds": seconds, **losses})
            self._report(self._reporter, losses)
        if self._is_due(self._choices.save_every):
            self._save()
        on_progress(self.step, losses)

    def _anything_is_due(self, step: int) -> bool:
        every = self._choices.sample_every, self._choices.save_every
        return step == self._total_steps or any(step % steps == 0 for steps in every)

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self._total_steps

    def _report(self, reporter: Reporter, losses: Losses) -> None:
        reporter.stepped(self.step, losses, self._trainer.rates(self.step - 1))
        for alarm in self._watch.look(reporter.status.smoothed, self.step):
            reporter.alarm(alarm)
        if self._is_due(self._choices.sample_every):
            rows, translations = self._trainer.sample(reporter.status.domains)
            self._run.save_sample(self.step, rows)
            self._run.drop_samples(every=self._choices.sample_every)
            for alarm in alarms.of_translations(translations, reporter.status.domains, self.step):
                reporter.alarm(alarm)
            reporter.paused()

    def _save(self) -> None:
        if self._reporter is None:
            self._saved = self.step
            return
        status = self._reporter.status
        state = {
            "step": self.step,
            "smoothed": status.smoothed,
            "winning_since": self._watch.since,
            "trainer": self._trainer.state_dict(),
        }
        exports = self._trainer.exports()
        if not all(tensor.isfinite().all() for weights in exports.values() for tensor in weights.values()):
            raise Diverged(f"Stopped at step {self.step}: a weight is too large for float16. {self._last_checkpoint()}")
        self._reporter.flush()
        save_checkpoint(self._run, state, exports)
        self._saved = self.step
        status.last_checkpoint = self.step
        self._measure(self._reporter)
        self._run.drop_checkpoints(keep=self._choices.keep_checkpoints, best=status.best_checkpoint)
        self._reporter.write()
        self._reporter.paused()

    def _measure(self, reporter: Reporter) -> None:
        """Measure the quality of a checkpoint if it is due and not yet done."""
        known = {measured.step for measured in reporter.status.quality}
        due = self.step and self._is_due(self._choices.save_every * self._choices.quality_every)
        if self._held_out and due and self.step not in known:
            evaluation = self._trainer.evaluate(self._held_out)
            copies = self.step <= self._choices.identity_steps
            figures = quality(evaluation, self.step, reporter.status.domains, self._trainer.device, copies=copies)
            reporter.measured(figures)

    def _last_checkpoint(self) -> str:
        return f"The last checkpoint is from step {self._saved}." if self._saved else "There is no checkpoint yet."
