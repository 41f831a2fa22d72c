"""What an inference worker counts of the jobs that it ran."""

from collections.abc import Sequence

from worker.contract import Status, Task
from worker.meters import BATCH_SIZE, JOBS, PICTURES, STAGE_SECONDS, Meter
from worker.tasks import LoadedTask, Result, RunningJob


def count_batch(
    meter: Meter, batch: Sequence[tuple[RunningJob, LoadedTask]], results: Sequence[Result | Exception | None]
) -> None:
    """Count the jobs of a batch, whose timings are known.

    Args:
        results: None for each that was canceled or handed back.
    """
    meter.observe(BATCH_SIZE, len(batch))
    for (running, loaded), result in zip(batch, results, strict=True):
        if result is None:
            continue
        task, succeeded = loaded.task, isinstance(result, Result)
        meter.count(JOBS, task.model, task.kind, Status.SUCCEEDED if succeeded else Status.FAILED)
        if isinstance(result, Result) and result.pictures:
            meter.count(PICTURES, task.model, by=_made(task))
        timings = running.meta.timings
        for stage, ms in (
            ("decode", timings.decode_ms),
            ("queue", timings.queue_ms),
            ("inference", timings.inference_ms),
        ):
            if ms is not None:
                meter.observe(STAGE_SECONDS, ms / 1000, stage)


def _made(task: Task) -> int:
    return task.filming.frames if task.filming is not None else task.generated
