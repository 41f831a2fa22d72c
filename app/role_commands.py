"""``doppel worker``, ``trainer`` and ``preparer``: one role alone."""

import argparse
import os
import subprocess
from collections.abc import Callable

from app.settings import PREPARER_JOBS, Settings
from models.installed import require_torch
from models.process import quick_imports

REDIS_PATIENCE_S = 30  # for roles that can do nothing without it, which may be started before it


def worker(settings: Settings, parsed: argparse.Namespace) -> int:
    """Run one inference worker."""
    redis_url = _checked_redis_url(settings)  # before torch is loaded, which takes a while
    with quick_imports():
        from worker.inference_process import run_worker

    run_worker(
        redis_url=redis_url,
        weights_dir=settings.weights_dir,
        data_dir=settings.data_dir,
        device=settings.device,
        threads=settings.worker_threads,
        max_batch=settings.max_batch,
        batch_wait_ms=settings.batch_wait_ms,
        result_ttl_s=settings.result_ttl_s,
        resident_mb=settings.resident_mb,
        preload=settings.preload,
        memory_mb=settings.worker_memory_mb,
        max_job_s=settings.max_job_s,
    )
    return 0


def trainer(settings: Settings, parsed: argparse.Namespace) -> int:
    """Run one trainer."""
    from models.store.files import require_writable
    from worker.training_process import run_trainer

    require_torch("Training")
    require_writable(settings.data_dir, "DOPPEL_DATA_DIR")
    try:
        run_trainer(
            redis_url=_checked_redis_url(settings),
            data_dir=settings.data_dir,
            device=settings.device,
            reserved_mb=settings.training_reserved_mb,
            threads=settings.training_threads,
        )
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def preparer(settings: Settings, jobs: str | None, run_role: Callable[[list[str]], int]) -> int:
    """Run the preparer of these jobs in this process; None: of all, each in a process of its own.

    Args:
        run_role: runs the role that these arguments of ``doppel`` name.
    """
    from models.store.files import require_writable
    from worker.preparation_process import run_estimate_worker, run_fetch_worker, run_import_worker

    require_writable(settings.data_dir, "DOPPEL_DATA_DIR")
    redis_url = _checked_redis_url(settings)
    weights_dir, data_dir = settings.weights_dir, settings.data_dir
    match jobs:
        case "imports":
            run_import_worker(
                redis_url=redis_url,
                weights_dir=weights_dir,
                data_dir=data_dir,
                timeout_s=settings.import_timeout_s,
            )
        case "fetches":
            run_fetch_worker(
                redis_url=redis_url,
                weights_dir=weights_dir,
                data_dir=data_dir,
                weights_url=settings.weights_url,
                offline=settings.offline,
            )
        case "estimates":
            run_estimate_worker(redis_url=redis_url)
        case _:
            from worker.supervisor import Supervisor

            roles = {f"preparer-{each}": ["preparer", each] for each in PREPARER_JOBS}
            env = {**os.environ, "DOPPEL_REDIS_URL": redis_url}
            Supervisor(roles, env=env, redis_url=redis_url, embedded=None, run_role=run_role).run()
    return 0


def _checked_redis_url(settings: Settings) -> str:
    """The address of the Redis to use, once it was found to be one that can be used.

    Raises:
        QueueUnreachable: it does not answer within ``REDIS_PATIENCE_S``.
        RedisUnusable: it is not fit.
    """
    from worker.connection import require_redis
    from worker.embedded_redis import socket_url

    redis_url = settings.redis_url or socket_url(settings.data_dir)
    require_redis(redis_url, patience_s=REDIS_PATIENCE_S)
    return redis_url
