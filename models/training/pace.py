"""How many steps of a run fit a time: its first steps are timed on networks that are thrown away.

So the length of the run is known before its first step, and the run is in all the one that was given this length.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.store.options import Options, StarGANOptions
from models.store.run_folder import RunFolder
from models.training import distributed
from models.training.checkpoints import save_checkpoint
from models.training.evaluation import quality
from models.training.plan import Plan, plan
from models.training.recorded_part import WARM_UP

SHARE = 0.04  # of the time that is given, spent on timing each kind of step
MOST_S = 20.0  # spent on timing each kind of step, unless so few steps take longer
LEAST_STEPS = 3  # timed, after as many that warm up; a GPU, which records steps, takes more to warm up
TRIAL_PREFIX = ".pace-"  # of a folder that is written to find out how long a checkpoint takes

log = logging.getLogger("doppel.training")


@dataclass(frozen=True)
class Pace:
    """How long the parts of a run take, in seconds each."""

    identity_step_s: float  # of the first steps, `identity_steps`
    step_s: float
    sample_s: float
    checkpoint_s: float
    quality_s: float

    def steps_within(self, seconds: float, options: Options, first_step: int) -> int:
        """How many steps after ``first_step`` fit, 1 or more, with their samples, checkpoints and measurements.

        The last step is followed by one of each.
        """
        beside_s = (
            self.sample_s / options.sample_every
            + self.checkpoint_s / options.save_every
            + self.quality_s / (options.save_every * options.quality_every)
        )
        left_s = seconds - self.sample_s - self.checkpoint_s - self.quality_s
        identity_steps = max(0, options.identity_steps - first_step)
        identity_s = identity_steps * (self.identity_step_s + beside_s)
        if left_s <= identity_s:
            return max(1, int(left_s / (self.identity_step_s + beside_s)))
        return identity_steps + max(1, int((left_s - identity_s) / (self.step_s + beside_s)))


def length_within(
    run: RunFolder,
    options: Options,
    *,
    first_step: int,
    seconds_left: Callable[[], float],
    should_stop: Callable[[], bool],
) -> dict[str, Any] | None:
    """The options that take the place of ``minutes``: a length after which the time is over.

    Half of the steps of a CycleGAN or CUT are at the full learning rate, and it falls over the other half. A StarGAN
    v2's ``lambda_ds`` falls to 0 over its whole length, unless ``ds_iter`` was chosen. Under torchrun, all processes
    call this and get the same.

    Args:
        first_step: the step from which the run goes on.
        seconds_left: the time that is left, as of each call.

    Returns:
        None if it was told to stop meanwhile.

    Raises:
        DatasetError, DeviceError, CheckpointError, UnevenBatch: as when the run itself starts.
    """
    planned = plan(options.model_copy(update={"minutes": None}))
    pace = _measure(run, planned, options, first_step, min(MOST_S, SHARE * seconds_left()), should_stop)
    pictures = planned.pictures
    del planned  # what it takes of a GPU's memory, the run needs
    if pace is None:
        return None
    steps = distributed.agreed(pace.steps_within(seconds_left(), options, first_step))
    log.info("%d steps fit %.4g minutes, at %.3g s each", steps, options.minutes, pace.step_s)
    if isinstance(options, StarGANOptions):
        return {"total_iters": first_step + steps} | _diversity(options, steps)
    decay_steps = steps // 2
    steps_per_epoch = pictures / options.batch_size
    return {
        "epochs": (first_step + steps - decay_steps) / steps_per_epoch,
        "epochs_decay": decay_steps / steps_per_epoch,
    }


def _diversity(options: StarGANOptions, steps: int) -> dict[str, int]:
    chosen = "ds_iter" in options.model_fields_set
    return {} if chosen else {"ds_iter": max(1, steps - options.identity_steps)}


def _measure(
    run: RunFolder, planned: Plan, options: Options, first_step: int, limit_s: float, should_stop: Callable[[], bool]
) -> Pace | None:
    """Time a few steps of each kind, and on the process that writes also a sample, a checkpoint and a measurement."""
    step_s = _step_s(planned, options.identity_steps, limit_s, should_stop)
    identity_s = _step_s(planned, 0, limit_s, should_stop) if options.identity_steps > first_step else step_s
    if step_s is None or identity_s is None:
        return None
    if distributed.rank() != 0:
        return Pace(identity_s, step_s, 0, 0, 0)
    with tempfile.TemporaryDirectory(dir=run.path, prefix=TRIAL_PREFIX) as folder:
        trial = RunFolder(Path(folder))
        sample_s = _spent_s(lambda: trial.save_sample(1, planned.trainer.sample(planned.domains)[0]))
        state = {"step": 1, "trainer": planned.trainer.state_dict()}
        checkpoint_s = _spent_s(lambda: save_checkpoint(trial, state, planned.trainer.exports()))
    quality_s = 0.0
    if planned.held_out:
        quality_s = _spent_s(
            lambda: quality(planned.trainer.evaluate(planned.held_out), 1, planned.domains, planned.device)
        )
    return Pace(identity_s, step_s, sample_s, checkpoint_s, quality_s)


def _step_s(planned: Plan, progress: int, limit_s: float, should_stop: Callable[[], bool]) -> float | None:
    """Seconds that a step takes, with its batch, after ``progress`` steps; None if it was told to stop."""
    # The step that a GPU records takes seconds; the one after it has been replayed once.
    warm_up = WARM_UP + 2 if planned.device.type == "cuda" else LEAST_STEPS
    started = warm = time.perf_counter()
    timed = 0
    batches = planned.batches(progress, progress + 1_000_000)
    try:
        for count, batch in enumerate(batches, start=1):
            for term in planned.trainer.step(batch, progress).values():
                term.item()  # waits for an accelerator
            moment = time.perf_counter()
            if count == warm_up:
                warm = moment
            timed = count - warm_up
            if distributed.agreed(should_stop()):
                return None
            if distributed.agreed(timed >= LEAST_STEPS and moment - started >= limit_s):
                break
    finally:
        batches.close()
    return distributed.agreed((moment - warm) / timed)


def _spent_s(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
