"""What a run would take, and whether the machines that train can hold it."""

from app.training_schemas import Forecast
from models.errors import Invalid, RunFolderError, UnknownRun
from models.store.options import Options
from models.store.runs import RunStore
from models.training.estimate import ASSUMED_GFLOP_PER_S, estimate
from worker.training_queue import TrainerReport

LIKE = 4.0  # times the arithmetic of a step, up to which a run's pace tells of another's
# This machine's, or told apart; init_from is told by the model's name instead.
HIDDEN_OPTIONS = {"dataset", "device", "init_from", "landmarks", "loader_processes", "reserved_mb", "family"}


def forecast(
    options: Options, total_steps: int, num_domains: int, *, store: RunStore, trainers: list[TrainerReport]
) -> Forecast:
    """Foretell a run.

    Args:
        store: runs that were timed here.

    Raises:
        Invalid: a trainer's machine cannot hold it.
    """
    needs = estimate(options, num_domains)
    gflop_per_step = needs.flop_per_step / 1e9
    pace, estimated_by = _pace(options, gflop_per_step, store)
    for trainer in trainers:
        _check_machine(trainer, options, needs.memory_mb)
    warnings = []
    if options.save_every > total_steps:
        warnings.append("there will be no checkpoint before the end: save_every is larger than the number of steps")
    if options.sample_every > total_steps:
        warnings.append("there will be no sample picture before the end")
    return Forecast(
        options=options.model_dump(mode="json", exclude=HIDDEN_OPTIONS),
        parameters=needs.parameters,
        total_steps=total_steps,
        gflop_per_step=round(gflop_per_step, 1),
        memory_mb=needs.memory_mb,
        seconds=round(gflop_per_step / pace * total_steps, 1),
        estimated_by=estimated_by,
        warnings=warnings,
    )


def _pace(options: Options, gflop_per_step: float, store: RunStore) -> tuple[float, str]:
    """Arithmetic a second (GFLOP) that may be expected, and what that is told by.

    Small networks keep a machine waiting, so a run tells of those that are about as large, and at least how much the
    machine can do.
    """
    best, estimated_by = ASSUMED_GFLOP_PER_S, "two CPU cores, since no run like this one was timed here yet"
    for run_id, status in store.statuses():
        if not status.images_per_s:
            continue
        try:
            timed = store.folder(run_id).options()
        except (UnknownRun, RunFolderError):
            continue  # removed meanwhile, or of another version
        step = estimate(timed, len(status.domains) or 2).flop_per_step / 1e9
        pace = step * status.images_per_s / timed.batch_size
        alike = (timed.family, timed.precision, timed.gpus) == (options.family, options.precision, options.gpus)
        if alike and 1 / LIKE <= step / gflop_per_step <= LIKE:
            return pace, f"the pace of run {run_id}"
        if pace > best:
            best, estimated_by = pace, f"the pace of run {run_id}, though that was another kind of run"
    return best, estimated_by


def _check_machine(trainer: TrainerReport, options: Options, memory_mb: int) -> None:
    """Refuse what the machine that trains cannot hold."""
    if trainer.gpu_memory_mb:
        has, what = min(trainer.gpu_memory_mb) - trainer.reserved_mb, "the trainer's GPU"
        processes, of = len(trainer.gpu_memory_mb), "GPUs"
    else:
        has, what = trainer.memory_mb // options.gpus, "each process of the trainer"
        processes, of = trainer.cores, "cores"
    if options.gpus > processes:
        raise Invalid(f"gpus: {options.gpus} processes are asked for; the trainer has {processes} {of}.")
    if memory_mb > has:
        raise Invalid(
            f"The run would need about {memory_mb:,} MB of memory, and {what} has {has:,} MB. Ask for a smaller "
            "batch_size, smaller pictures or narrower networks."
        )
