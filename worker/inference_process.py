"""The process ``doppel worker``: models in memory at one end, the queue at the other."""

import logging
import os
from pathlib import Path

from models.device import serving_device
from models.errors import DoppelError
from models.store.catalog import Catalog
from worker.connection import connect
from worker.errors import DeviceFailed
from worker.inference_worker import MAX_JOB_S, PATIENCE_S, InferenceWorker, worker_name
from worker.janitor import Janitor
from worker.process_memory import limit_memory, worker_memory_mb
from worker.resident_models import ResidentModels
from worker.tracing import tracer_of

DEFAULT_MAX_BATCH = 16  # on an accelerator; a CPU gains nothing from batches

log = logging.getLogger("doppel.worker")


def run_worker(
    *,
    redis_url: str,
    weights_dir: Path,
    data_dir: Path,
    device: str,
    threads: int | None,
    max_batch: int | None,
    batch_wait_ms: float,
    result_ttl_s: int,
    resident_mb: int,
    preload: list[str],
    memory_mb: int | None = None,
    max_job_s: float = MAX_JOB_S,
) -> None:
    """Serve the inference queue until SIGTERM or SIGINT. The parameters are the settings of the same names.

    Raises:
        DeviceError: this machine does not have the device.
        DeviceFailed: the jobs in hand are queued again. It counts as a try, since one of them may be the reason.
    """
    chosen = serving_device(device, threads=threads)
    if chosen.is_cpu:  # drivers of GPUs allocate for themselves, by other rules
        limit_memory(memory_mb or worker_memory_mb(1))
    catalog = Catalog(weights_dir, data_dir)
    batch = max_batch or (1 if chosen.is_cpu else DEFAULT_MAX_BATCH)
    residents = ResidentModels(catalog, chosen, budget_bytes=resident_mb << 20, step_size=batch)
    for name in preload:
        try:
            residents.load(catalog.resolve(name).name)
        except DoppelError as error:
            log.warning("%s is not preloaded: %s", name, error)
    connection = connect(redis_url, patience_s=PATIENCE_S)
    # In a container that is started again host and process number are those of the worker that died.
    Janitor(connection).recover(worker_name(os.getpid()))
    tracer = tracer_of("doppel-worker")
    worker = InferenceWorker(
        connection,
        residents,
        device=chosen.name,
        max_batch=batch,
        batch_wait_ms=batch_wait_ms,
        result_ttl_s=result_ttl_s,
        tracer=tracer,
        max_job_s=max_job_s,
    )
    try:
        worker.run()
    except DeviceFailed:
        Janitor(connection).recover(worker.name)
        raise
    finally:
        tracer.close()
