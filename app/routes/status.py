"""GET /status."""

import functools
import os
import shutil
import socket
import time
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from app.callers import Caller
from app.deps import CallerDep, Services, ServicesDep
from app.routes import answers
from app.status_schemas import Disk, Machine, PreparerStatus, ServerStatus, TrainerStatus, WorkerStatus
from app.waiting import ALIVE_S
from models.store.run_status import RunState
from worker.overview import Overview
from worker.preparation_queue import PREPARER_SEEN_S

router = APIRouter(tags=["health"])


@router.get("/status", summary="Read what the server is doing", responses=answers.problems(503))
async def read_status(services: ServicesDep, caller: CallerDep) -> ServerStatus:
    """Processes and devices, the queues and how long their oldest job has waited, memory, disk, runs, the version.

    The answer may be a second old. Where there are API keys, the runs are your own.
    """
    status = await run_in_threadpool(server_status, services)
    return status if caller.is_admin else await run_in_threadpool(_of, status, services, caller)


def _of(status: ServerStatus, services: Services, caller: Caller) -> ServerStatus:
    """The same with the runs that the caller sees."""
    runs = {name: services.runs.seen(getattr(status, name), caller) for name in ("runs_running", "runs_queued")}
    return status.model_copy(update=runs)


def server_status(services: Services) -> ServerStatus:
    """What the server is doing, at most a second old. It blocks.

    Raises:
        QueueUnreachable: Redis does not answer.
    """
    return services.status.get(functools.partial(_status, services))


def _status(services: Services) -> ServerStatus:
    now = time.time()
    workers = [
        WorkerStatus(
            name=worker.name,
            host=worker.host,
            device=worker.device,
            loaded=worker.loaded,
            memory_mb=worker.memory_mb,
            gpu_memory_mb=worker.gpu_memory_mb,
            seen_s=max(0.0, now - worker.seen_at),
        )
        for worker in services.queue.workers(seen_within_s=ALIVE_S)
    ]
    trainers = [
        TrainerStatus(
            **trainer.model_dump(include={"name", "host", "memory_mb", "gpu_memory_mb", "cores"}),
            seen_s=max(0.0, now - trainer.seen_at),
        )
        for trainer in services.runs.trainers()
    ]
    preparers = [
        PreparerStatus(
            **preparer.model_dump(include={"name", "host", "queue", "torch"}),
            seen_s=max(0.0, now - preparer.seen_at),
        )
        for preparer in services.preparation.preparers(seen_within_s=PREPARER_SEEN_S)
    ]
    runs = services.runs.live()
    disk = shutil.disk_usage(services.settings.data_dir if services.settings.data_dir.exists() else Path.cwd())
    return ServerStatus(
        version=version("doppel"),
        ready=bool(workers) and services.catalog.can_run_any(),
        workers=workers,
        trainers=trainers,
        preparers=preparers,
        queues=Overview(services.queue.connection).load(),
        queue_limit=services.settings.queue_limit,
        runs_running=[run for run, state in runs.items() if state is RunState.RUNNING],
        runs_queued=[run for run, state in runs.items() if state is RunState.QUEUED],
        machine=_machine(),
        disk=Disk(free_mb=disk.free >> 20, total_mb=disk.total >> 20),
        offline=services.settings.offline,
        max_upload_mb=services.settings.max_upload_mb,
    )


def _machine() -> Machine:
    memory = _meminfo()
    return Machine(
        host=socket.gethostname(),
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        memory_mb=memory.get("MemTotal"),
        memory_free_mb=memory.get("MemAvailable"),
    )


def _meminfo() -> dict[str, int]:
    """The lines of Linux's /proc/meminfo in MiB; empty elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(rest.split()[0]) >> 10 for name, _, rest in (line.partition(":") for line in lines)}
