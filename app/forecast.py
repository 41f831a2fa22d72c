"""Forecasts of training runs: how large they are, how long they take, and whether a trainer can hold them."""

import json
import math
import threading
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from app.training_schemas import Forecast
from models.errors import Invalid, RunFolderError, UnknownRun
from models.store.options import LOCAL_OPTIONS, CycleGANOptions, Options, sizes
from models.store.runs import RunStore
from worker.preparation_queue import PreparationQueue
from worker.training_queue import TrainerReport

ESTIMATE_TIMEOUT_S = 60
MAX_REMEMBERED = 1000  # estimates
ASSUMED_GFLOP_PER_S = 150.0  # of two CPU cores in float32, before any run was timed here
FLOAT_BYTES = 4
CHECKPOINT_COPIES = 5  # of every parameter: itself, Adam's two moments, its average, and what is published of it
SIMILAR = 4.0  # a run's pace says something about runs whose steps are up to this many times larger or smaller
HIDDEN_OPTIONS = {*LOCAL_OPTIONS, "family"}  # the family has a field of its own; a model to start from has its name


class RunSize(BaseModel):
    """The size of a run, as the preparer estimates it."""

    parameters: dict[str, int]  # of each network
    flop_per_step: float
    memory_mb: int  # of each process, on a GPU
    cpu_memory_mb: int

    def on(self, trainer: TrainerReport) -> int:
        """The memory in MiB that each process needs there."""
        return self.memory_mb if trainer.gpu_memory_mb else self.cpu_memory_mb


class TimedRun(BaseModel):
    """A run that has trained here, and how fast it did."""

    id: str
    kind: tuple[str, str, int]  # family, precision, gpus
    gflop_per_step: float
    gflop_per_s: float


class Forecaster:
    """Forecasts runs. The preparer sizes them; how fast earlier runs were tells how long they take.

    Args:
        store: earlier runs.
    """

    def __init__(self, store: RunStore, preparation: PreparationQueue) -> None:
        self._store = store
        self._preparation = preparation
        self._known: dict[str, RunSize] = {}  # by the request, as JSON
        self._lock = threading.Lock()

    def forecast(
        self, runs: Sequence[tuple[Options, int | None, int]], trainers: Sequence[TrainerReport]
    ) -> list[Forecast]:
        """Forecast runs.

        Args:
            runs: options, number of steps and number of domains of each. Without a number of steps, the options say
                how many minutes the run is to take.
            trainers: those that are alive.

        Raises:
            Invalid: a trainer's machine can't hold a run.
            Unavailable: no preparer is alive, none answered in time, or they lack a package that a run needs.
        """
        for options, _, _ in runs:
            for trainer in trainers:
                _check_processes(trainer, options)
        found = self._sizes([sizes(options, num_domains) for options, _, num_domains in runs])
        timed = self._timed_runs()
        forecasts = []
        for (options, total_steps, _), size in zip(runs, found, strict=True):
            for trainer in trainers:
                _check_memory(trainer, options, size.on(trainer))
            memory_mb = max((size.on(trainer) for trainer in trainers), default=size.memory_mb)
            forecasts.append(_forecast(options, total_steps, size, memory_mb, timed))
        return forecasts

    def _sizes(self, requests: Sequence[dict[str, Any]]) -> list[RunSize]:
        """The size of each run, from the preparer unless it has answered the same request before."""
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        with self._lock:
            known = {key: self._known[key] for key in keys if key in self._known}
        if missing := {key: request for key, request in zip(keys, requests, strict=True) if key not in known}:
            answers = self._preparation.estimate(list(missing.values()), timeout_s=ESTIMATE_TIMEOUT_S)
            known |= {key: RunSize.model_validate(answer) for key, answer in zip(missing, answers, strict=True)}
            with self._lock:
                self._known |= known
                while len(self._known) > MAX_REMEMBERED:
                    del self._known[next(iter(self._known))]
        return [known[key] for key in keys]

    def _timed_runs(self) -> list[TimedRun]:
        """Runs whose size and pace are known, newest first."""
        timed = []
        for run_id, status in self._store.statuses():
            if not status.images_per_s or not status.gflop_per_step:
                continue
            try:
                options = self._store.folder(run_id).options()
            except (UnknownRun, RunFolderError):
                continue  # removed meanwhile, or written by another version
            timed.append(
                TimedRun(
                    id=run_id,
                    kind=_kind(options),
                    gflop_per_step=status.gflop_per_step,
                    gflop_per_s=status.gflop_per_step * status.images_per_s / options.batch_size,
                )
            )
        return timed


def _kind(options: Options) -> tuple[str, str, int]:
    return options.family, options.precision, options.gpus


def _forecast(
    options: Options, total_steps: int | None, size: RunSize, memory_mb: int, timed: Sequence[TimedRun]
) -> Forecast:
    gflop_per_step = float(f"{size.flop_per_step / 1e9:.4g}")
    gflop_per_s, estimated_by = _pace(options, gflop_per_step, timed)
    seconds_per_step = gflop_per_step / gflop_per_s
    warnings = []
    if total_steps is None:
        assert options.minutes is not None, "the length of a run is given, or its time"
        total_steps = max(1, round(60 * options.minutes / seconds_per_step))
        warnings.append("the number of steps is an estimate: the run times its first steps, and does what fits")
    if options.save_every > total_steps:
        warnings.append("there will be no checkpoint before the end: save_every is larger than the number of steps")
    if options.sample_every > total_steps:
        warnings.append("there will be no sample picture before the end")
    return Forecast(
        options=options.model_dump(mode="json", exclude=HIDDEN_OPTIONS),
        parameters=size.parameters,
        total_steps=total_steps,
        gflop_per_step=gflop_per_step,
        memory_mb=memory_mb,
        disk_mb=_disk_mb(options, total_steps, size),
        seconds=round(seconds_per_step * total_steps if options.minutes is None else 60 * options.minutes, 1),
        estimated_by=estimated_by,
        warnings=warnings,
    )


def _disk_mb(options: Options, total_steps: int, size: RunSize) -> int:
    """What the checkpoints take that lie there at a time: those that are kept, the best, and the one that is written.

    It errs on the high side.
    """
    nbytes = CHECKPOINT_COPIES * FLOAT_BYTES * sum(size.parameters.values())
    if isinstance(options, CycleGANOptions):
        nbytes += 2 * options.pool_size * 3 * options.image_size**2 * FLOAT_BYTES
    number = min(options.keep_checkpoints + 2, total_steps // options.save_every + 1)
    return math.ceil(number * nbytes / 2**20)


def _pace(options: Options, gflop_per_step: float, timed: Sequence[TimedRun]) -> tuple[float, str]:
    """GFLOP per second to expect, and what that is based on.

    It is the pace of the newest run that is like this one. Small networks don't keep a machine busy, so only runs of a
    similar size are alike. Without one, it is the best pace of any run, which at least says what the machine can do.
    """
    for run in timed:
        if run.kind == _kind(options) and 1 / SIMILAR <= run.gflop_per_step / gflop_per_step <= SIMILAR:
            return run.gflop_per_s, f"the pace of run {run.id}"
    best = max(timed, key=lambda run: run.gflop_per_s, default=None)
    if best is None or best.gflop_per_s <= ASSUMED_GFLOP_PER_S:
        return ASSUMED_GFLOP_PER_S, "two CPU cores, since no run like this one has been timed here yet"
    return best.gflop_per_s, f"the pace of run {best.id}, which was another kind of run"


def _check_processes(trainer: TrainerReport, options: Options) -> None:
    """Refuse a run of more processes than the trainer can run at once."""
    processes, unit = (len(trainer.gpu_memory_mb), "GPUs") if trainer.gpu_memory_mb else (trainer.cores, "cores")
    if options.gpus > processes:
        raise Invalid(f"gpus: {options.gpus} processes were asked for; the trainer has {processes} {unit}.")


def _check_memory(trainer: TrainerReport, options: Options, memory_mb: int) -> None:
    """Refuse a run that doesn't fit the trainer's memory."""
    if trainer.gpu_memory_mb:
        available_mb, owner = min(trainer.gpu_memory_mb) - trainer.reserved_mb, "the trainer's GPU"
    else:
        available_mb, owner = trainer.memory_mb // options.gpus, "each process of the trainer"
    if memory_mb > available_mb:
        raise Invalid(
            f"The run would need about {memory_mb:,} MB of memory, and {owner} has {available_mb:,} MB. Ask for a "
            "smaller batch_size, smaller pictures or narrower networks."
        )
