"""What is traced of the jobs that an inference worker ran: their wait, their computation, and the batch they share.

A batch belongs to several traces, so it is a trace of its own with a link to the request of each job, as OpenTelemetry
advises; the computation of each job links to its batch.
"""

import time
from collections.abc import Sequence

from worker.tasks import LoadedTask, Result, RunningJob
from worker.tracer import Attributes, Tracer


def trace_batch(
    tracer: Tracer,
    batch: Sequence[tuple[RunningJob, LoadedTask]],
    results: Sequence[Result | Exception | None],
    inference_ms: float,
) -> None:
    """Record the jobs of a batch that has just been computed, as far as their requests are traced."""
    if not tracer.enabled:
        return
    traced = [
        (running, loaded, result, running.meta.traceparent)
        for (running, loaded), result in zip(batch, results, strict=True)
        if running.meta.traceparent is not None
    ]
    if not traced:
        return
    ended = time.time()
    begun = ended - inference_ms / 1000
    task = traced[0][1].task
    shared: Attributes = {"doppel.model": task.model, "doppel.kind": task.kind, "doppel.batch.size": len(batch)}
    of_batch = tracer.past("batch", begun, ended, links=[parent for *_, parent in traced], attributes=shared)
    for running, _, result, parent in traced:
        own = {**shared, "doppel.job.id": running.id}
        started = running.started.started_at.timestamp()
        if running.meta.timings.queue_ms is not None:
            tracer.past("queue", started - running.meta.timings.queue_ms / 1000, started, parent=parent, attributes=own)
        tracer.past(
            "inference",
            begun,
            ended,
            parent=parent,
            links=[of_batch] if of_batch else (),
            attributes=own,
            error=result if isinstance(result, Exception) else None,
        )
