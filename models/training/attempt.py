"""One attempt at training a run: from its folder to a status that says how it ended."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from models.device import select_device
from models.errors import (
    CannotWrite,
    CheckpointError,
    DatasetError,
    DeviceError,
    Diverged,
    NotInstalled,
    RunFolderError,
    UnevenBatch,
)
from models.store.files import is_full
from models.store.options import Options
from models.store.run_changes import add_change
from models.store.run_folder import RunFolder
from models.store.run_lock import lock_run
from models.store.run_pictures import check_pictures, record_pictures
from models.store.run_status import Alarm, RunState, RunStatus, now, read_status, write_status
from models.training import distributed
from models.training.checkpoints import load_state
from models.training.loop import Loop, Losses
from models.training.pace import length_within
from models.training.plan import Plan, plan
from models.training.reporter import Reporter

REASONS = (
    RunFolderError,
    DatasetError,
    DeviceError,
    CheckpointError,
    NotInstalled,
    UnevenBatch,
    Diverged,
    CannotWrite,
)

log = logging.getLogger("doppel.training")

Progress = Callable[[int, int, Losses], None]  # steps done, of how many, losses


def attempt(
    folder: Path,
    *,
    on_progress: Progress,
    should_stop: Callable[[], bool],
    overrides: Mapping[str, Any] | None = None,
    requeue: bool = False,
) -> RunState:
    """Train the run in ``folder`` until it is complete, ``should_stop`` returns True, or a stop file appears.

    Under torchrun, each process calls this.

    Args:
        on_progress: called after each step.
        overrides: options that replace the run's own.
        requeue: after ``should_stop``, leave the run queued, because the caller queues it again.

    Returns:
        How the attempt ended: succeeded, stopped, or queued.

    Raises:
        RunBusy: another process trains in the folder.
        RunFolderError, DatasetError, DeviceError, CheckpointError, NotInstalled, UnevenBatch: training cannot start.
        Diverged, CannotWrite: training had to end; the last checkpoint is whole.
    """
    started = time.monotonic()
    run = RunFolder(folder)
    options = run.options().model_copy(update=dict(overrides or {}))
    writes = distributed.rank() == 0
    with _naming_a_full_disk(), lock_run(folder) if writes else contextlib.nullcontext():
        reporter = _reporter(run, options) if writes else None
        try:
            with _naming_a_full_disk():
                is_complete = _train(run, options, reporter, on_progress, should_stop, started)
        except Exception as error:
            if reporter is not None:
                _fail(reporter, error)
            raise
        if is_complete:
            ended = RunState.SUCCEEDED
        else:
            ended = RunState.QUEUED if requeue and not run.stop_requested else RunState.STOPPED
        if reporter is not None:
            reporter.ended(ended)
        return ended


@contextlib.contextmanager
def _naming_a_full_disk() -> Iterator[None]:
    """Raise CannotWrite in place of the system's error, wherever it was that writing found the disk full."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise CannotWrite(error) from error


def _train(
    run: RunFolder,
    options: Options,
    reporter: Reporter | None,
    on_progress: Progress,
    should_stop: Callable[[], bool],
    started: float,
) -> bool:
    """Train as :func:`attempt` does, and return whether the last step was done."""

    def stops() -> bool:
        return should_stop() or run.stop_requested

    if reporter is not None:
        _check_pictures(reporter, options, resumed=bool(run.checkpoints()))
    _reserve(options)
    if options.minutes is not None:
        minutes = options.minutes
        if reporter is not None:
            reporter.status.eta_s = round(60 * minutes, 1)
            reporter.write()
        checkpoints = run.checkpoints()
        first_step = int(checkpoints[-1].stem) if checkpoints else 0
        length = length_within(
            run,
            options,
            first_step=first_step,
            seconds_left=lambda: 60 * minutes - (time.monotonic() - started),
            should_stop=stops,
        )
        if length is None:
            return False
        if reporter is not None:
            add_change(run.path, first_step, length, why=f"{minutes:g} minutes")
        options = options.model_copy(update={"minutes": None, **length})
    planned = plan(options)
    loop = _loop(run, options, planned, reporter)
    if reporter is not None:
        _begin(reporter, loop, planned)

    def stepped(step: int, losses: Losses) -> None:
        if reporter is not None:
            reporter.passed_over(planned.unreadable)
        on_progress(step, planned.total_steps, losses)

    reached = loop.train(
        planned.batches,
        on_progress=stepped,
        should_stop=stops,
    )
    return reached == planned.total_steps


def _reporter(run: RunFolder, options: Options) -> Reporter:
    """Write that the run is running, and return the reporter of its progress."""
    status = read_status(run.path) or RunStatus(created_at=now(), updated_at=now(), dataset=options.dataset.name)
    status.status = RunState.RUNNING
    status.family = options.family
    status.error = None
    status.started_at = now()
    status.finished_at = None
    write_status(run.path, status)
    return Reporter(run.path, status, batch_size=options.batch_size)


def _check_pictures(reporter: Reporter, options: Options, *, resumed: bool) -> None:
    """Record which pictures the run trains on; when it is resumed, check that they are the same.

    Raises:
        DatasetError: they differ, so the run cannot be resumed exactly.
    """
    status = reporter.status
    if resumed:
        check_pictures(reporter.folder, status.dataset_fingerprint, options.dataset)
    if not resumed or status.dataset_fingerprint is None:
        status.dataset_fingerprint = record_pictures(reporter.folder, options.dataset)


def _loop(run: RunFolder, options: Options, planned: Plan, reporter: Reporter | None) -> Loop:
    if options.init_from is not None and not run.checkpoints():
        if options.init_from.suffix == ".safetensors":
            planned.trainer.start_from_weights(options.init_from)
        else:
            try:
                planned.trainer.start_from(load_state(options.init_from)["trainer"])
            except (KeyError, RuntimeError) as error:
                raise RunFolderError(f"{options.init_from} is of a run with other networks: {error}") from error
    return Loop(
        run,
        planned.trainer,
        total_steps=planned.total_steps,
        choices=options,
        reporter=reporter,
        held_out=planned.held_out,
    )


def _begin(reporter: Reporter, loop: Loop, planned: Plan) -> None:
    """Record what is known at the start, and drop what an interrupted attempt recorded about later steps."""
    status = reporter.status
    status.last_checkpoint = loop.step or None
    status.smoothed = loop.smoothed
    status.total_steps = planned.total_steps
    status.domains = planned.domains
    status.alarms = [alarm for alarm in status.alarms if alarm.step <= loop.step]
    status.quality = [quality for quality in status.quality if quality.step <= loop.step]
    status.parameters = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in planned.trainer.networks.items()
    }
    reporter.begin(loop.step, planned.device)
    reporter.passed_over(planned.unreadable)
    log.info("training on %s from step %d of %d", planned.device, loop.step, planned.total_steps)


def _fail(reporter: Reporter, error: Exception) -> None:
    reason = str(error) if isinstance(error, REASONS) else f"{type(error).__name__}: {error}"
    # If the disk is full in spite of the ballast, a trainer learns it from the exit status.
    with contextlib.suppress(OSError):
        if isinstance(error, CannotWrite):
            reporter.status.alarms.append(Alarm(kind="disk", step=reporter.status.step, detail=reason))
        elif isinstance(error, Diverged):
            reporter.status.alarms.append(Alarm(kind="not finite", step=reporter.status.step + 1, detail=reason))
        reporter.ended(RunState.FAILED, reason)


def _reserve(options: Options) -> None:
    """Limit this process's share of the GPU's memory."""
    device = distributed.local_device(select_device(options.device))
    if device.type == "cuda" and options.reserved_mb:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.05, 1 - (options.reserved_mb << 20) / total), device)
