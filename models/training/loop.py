"""The training loop. It knows no family and no queue: it takes a trainer, batches, and two functions."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from models.pixels import Picture
from models.training.run_folder import RunFolder

Losses = dict[str, float]


class Diverged(Exception):
    """A loss is not a finite number any more; the run's checkpoints are from before that."""


class Trainer(Protocol):
    """One family's networks, optimizers and step."""

    def step(self, batch: Any, progress: int) -> Losses:
        """Train on one batch, ``progress`` steps having been done; the named losses of this step."""

    def sample(self) -> Picture:
        """A picture of what the generators now make of the run's fixed inputs."""

    def state_dict(self) -> dict[str, Any]:
        """All that a later :meth:`load_state_dict` needs to go on exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def start_from(self, state: dict[str, Any]) -> None:
        """Take the networks of another run's state, and nothing else."""


def train(
    run: RunFolder,
    trainer: Trainer,
    batches: Callable[[int, int], Iterator[Any]],
    *,
    total_steps: int,
    sample_every: int,
    save_every: int,
    on_progress: Callable[[int, Losses], None],
    should_stop: Callable[[], bool],
) -> int:
    """Train from the run folder's newest checkpoint to ``total_steps``, or until ``should_stop`` at a step's end.

    Either way the last thing written is a checkpoint. A run that is stopped or killed and then resumed repeats exactly
    what an uninterrupted one would have done, on a CPU bit for bit.

    Raises:
        Diverged: a loss is not finite; nothing of that step is kept.

    Args:
        batches: given the steps done and the last step, yields one batch a step.
        on_progress: told of each step done and its losses.

    Returns:
        The step reached.
    """
    state = run.load_checkpoint()
    step = state["step"] if state else 0
    if state:
        trainer.load_state_dict(state["trainer"])
    run.cut_back(step)

    def save() -> None:
        run.save_checkpoint({"step": step, "trainer": trainer.state_dict()})

    saved = step
    started = time.perf_counter()
    for batch in batches(step, total_steps):
        losses = trainer.step(batch, progress=step)
        if broken := [f"{name} is {loss}" for name, loss in losses.items() if not math.isfinite(loss)]:
            last = f"The last checkpoint is of step {saved}." if saved else "There is no checkpoint yet."
            raise Diverged(f"Stopped at step {step + 1}: {', '.join(broken)}. {last}")
        step += 1
        run.append_metrics({"step": step, "seconds": round(time.perf_counter() - started, 3), **losses})
        if step % sample_every == 0 or step == total_steps:
            run.save_sample(step, trainer.sample())
        if step % save_every == 0 or step == total_steps:
            save()
            saved = step
        on_progress(step, losses)
        if should_stop():
            break
    if saved != step:
        save()
    return step
