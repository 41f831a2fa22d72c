"""``doppel serve``: all roles on one machine."""

import contextlib
import importlib
import logging
import os
import shlex
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from app.main import prepare
from app.server import api_roles, bound_socket, origin, who_may
from app.settings import PREPARER_JOBS, Settings
from models.cores import usable_cores
from models.installed import has_torch
from models.process import quick_imports
from models.serving.engines import load_cpu_engine
from models.store.files import require_writable
from worker.connection import require_redis
from worker.embedded_redis import EmbeddedRedis
from worker.errors import QueueUnreachable
from worker.process_memory import worker_memory_mb
from worker.supervisor import Supervisor

LIGHT_NOTE = (
    "This installation has no torch: it translates on the CPU. To train, to add weights files or to fetch the\n"
    "paper's, run make serve without LIGHT=1, or pip install 'doppel[worker]'.\n\n"
)
READY_TIMEOUT_S = 120.0
ROLE_MODULES = ("worker.inference_process", "worker.preparation_process", "worker.training_process")
SAMPLE = Path(__file__).resolve().parent.parent / "docs" / "images" / "sample-photo.jpg"  # in a checkout only

log = logging.getLogger("doppel.serve")


def serve(settings: Settings, run_role: Callable[[list[str]], int]) -> int:
    """Run all roles, and Redis unless one is configured, until Ctrl-C. Returns the exit status.

    Args:
        run_role: runs the role that these arguments of ``doppel`` name.

    Raises:
        PlaceError: the address or the data folder can't be used.
        RedisMissing, RedisNotStarted, RedisUnusable: there is no Redis to work with.
    """
    with bound_socket(settings) as listener:
        return _serve_at(settings, listener, run_role)


def _serve_at(settings: Settings, listener: socket.socket, run_role: Callable[[list[str]], int]) -> int:
    port: int = listener.getsockname()[1]
    require_writable(settings.data_dir, "DOPPEL_DATA_DIR")
    if settings.redis_url:
        try:
            require_redis(settings.redis_url)
        except QueueUnreachable as error:  # it may start after this
            log.warning("%s", error)
    embedded = None if settings.redis_url else EmbeddedRedis(settings.data_dir)
    redis_url = settings.redis_url or (embedded.url if embedded else "")
    env = os.environ | {
        "DOPPEL_REDIS_URL": redis_url,
        "DOPPEL_DATA_DIR": str(settings.data_dir),
        "DOPPEL_HOST": settings.host,
        "DOPPEL_PORT": str(port),
    }
    if (threads := threads_of_each_worker(settings)) is not None:
        env["DOPPEL_WORKER_THREADS"] = str(threads)
    env["DOPPEL_WORKER_MEMORY_MB"] = str(settings.worker_memory_mb or worker_memory_mb(max(1, settings.workers)))
    roles = api_roles(listener, settings.api_process_count)
    roles |= {f"worker-{number}": ["worker"] for number in range(1, settings.workers + 1)}
    roles |= {f"preparer-{jobs}": ["preparer", jobs] for jobs in PREPARER_JOBS}
    if has_torch():
        roles |= {f"trainer-{number}": ["trainer"] for number in range(1, settings.trainers + 1)}
    _load_for_forks(settings)
    supervisor = Supervisor(
        roles, env=env, redis_url=redis_url, embedded=embedded, run_role=run_role, listener=listener
    )
    supervisor.run(on_started=lambda: _announce(settings, port))
    return 0


def _load_for_forks(settings: Settings) -> None:
    """Load what the roles need, so that they find it in memory."""
    with quick_imports():
        for module in ROLE_MODULES:
            importlib.import_module(module)
        load_cpu_engine(settings.device)
        prepare(settings)


def threads_of_each_worker(settings: Settings) -> int | None:
    """The cores divided among several workers, which on all cores each would wait for one another's threads."""
    if settings.worker_threads is not None or settings.workers < 2:
        return settings.worker_threads
    return max(1, usable_cores() // settings.workers)


def _announce(settings: Settings, port: int) -> None:
    """Print the address once the service can translate, with a command to try it."""
    unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    probed = origin(unspecified.get(settings.host, settings.host), port)
    address = origin("localhost" if settings.host in ("127.0.0.1", *unspecified) else settings.host, port)
    why = _wait_until_ready(f"http://{probed}/readyz")
    if why is not None:
        print(f"Doppel is not ready after {READY_TIMEOUT_S:.0f} s: {why} See the lines above.", flush=True)
        return
    key = '-H "Authorization: Bearer $DOPPEL_API_KEY" ' if settings.has_keys else ""
    published = f"http://{address}{settings.root_path}"
    print(
        f"\nDoppel is at {published}/ (open it in a browser); its data is in {settings.data_dir}.\n{who_may(settings)} "
        f"Try it:\n\n  curl -f {key}-F image=@{_sample()} -F model=style_monet {address}/translate -o out.png\n\n"
        f"{'' if has_torch() else LIGHT_NOTE}Ctrl-C stops it.\n",
        flush=True,
    )


def _wait_until_ready(url: str) -> str | None:
    """Why the service is not ready in time; None if it is ready."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    why = "the API does not answer."
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, trust_env=False)
            if answer.is_success:
                return None
            why = answer.json()["detail"]
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return why


def _sample() -> str:
    """A picture to try, as short as it can be written from the current folder."""
    if not SAMPLE.is_file():
        return "photo.jpg"
    with contextlib.suppress(OSError, ValueError):  # the current folder was removed, or is another one
        return shlex.quote(str(SAMPLE.relative_to(Path.cwd())))
    return shlex.quote(str(SAMPLE))
