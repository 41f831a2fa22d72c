"""Real processes for tests: started, waited for, and ended whatever happens."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from app.main import create_app
from app.settings import Settings
from worker.connection import connect
from worker.process import bound
from worker.queue import InferenceQueue

ROOT = Path(__file__).parent.parent


def eventually(true: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Wait until ``true()`` is, or fail."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not true within {within_s} s"
        time.sleep(0.02)


@contextmanager
def process(*command: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that is killed in the end, if it has not ended by itself."""
    child = subprocess.Popen(bound(list(command)), cwd=ROOT, env=env)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def fake_worker(redis_url: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process with the fake model, once it is at work."""
    with process(sys.executable, "-m", "tests.fake_worker", redis_url, *options) as child:
        queue = InferenceQueue(connect(redis_url, patience_s=1), limit=1000)
        eventually(lambda: child.pid in [worker.pid for worker in queue.workers(seen_within_s=60)])
        yield child


@contextmanager
def api(settings: Settings) -> Iterator[httpx.Client]:
    """The application behind a real HTTP server on loopback, and a client of it."""
    config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        yield client
    server.should_exit = True
    thread.join(timeout=10)
