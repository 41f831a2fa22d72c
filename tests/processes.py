"""Real processes for tests: started, waited for, and ended whatever happens."""

import http.server
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

import tests.fake_worker
from app.connections import Bounds
from app.main import create_app
from app.server import server_of
from app.settings import PREPARER_JOBS, Settings
from models.process import bound
from tests.forks import Fork, fork
from worker.connection import connect
from worker.inference_queue import InferenceQueue
from worker.malformed_records import CLOCKS_DIFFER_S
from worker.preparation_queue import PreparationQueue

ROOT = Path(__file__).parent.parent
# Below the ports that systems give to connections and to those who ask for any port.
PORTS = range(10_000, 32_000)

Value = TypeVar("Value")


def eventually(look: Callable[[], Value], *, within_s: float = 120.0, every_s: float | None = None) -> Value:
    """Wait until ``look()`` gives something true, and return that; fail if it never does.

    What is looked at may be another thing a moment later, as a list of processes is: go by what this returns, and
    don't look a second time.

    Args:
        every_s: pause between two looks; None: the longer the wait, the longer the pause, since a look costs time
            that the processes waited for need.
    """
    begun = time.monotonic()
    while not (value := look()):
        waited_s = time.monotonic() - begun
        assert waited_s < within_s, f"not true within {within_s} s"
        time.sleep(min(0.2, max(0.02, waited_s / 10)) if every_s is None else every_s)
    return value


def fresh() -> float:
    """When a report that no process renews says it was written, so that it is believed for as long as it can be."""
    return time.time() + CLOCKS_DIFFER_S - 5


def free_port() -> int:
    """A port on loopback that nothing listens on, nor is given before somebody asks for it."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def children(process_id: int) -> dict[int, str]:
    """pid → command line of the processes that ``process_id`` started, at this moment.

    One that has just been forked may still have its parent's command line; one that has ended has none.
    """
    try:
        return {child.pid: _command_line(child) for child in psutil.Process(process_id).children()}
    except psutil.NoSuchProcess:
        return {}


def child(process_id: int, name: str) -> int | None:
    """The first of ``children`` whose command line has ``name`` in it."""
    return next((pid for pid, arguments in children(process_id).items() if name in arguments), None)


def running(command: str) -> int | None:
    """A process whose command line ends in ``command`` or has it before further arguments."""
    return next(
        (process.pid for process in psutil.process_iter() if f" {command} " in f"{_command_line(process)} "), None
    )


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended, and may be a zombie
        return ""


def ready(client: httpx.Client) -> bool:
    """Whether the service that ``client`` talks to can translate now."""
    return _is_success(client, "/readyz")


def healthy(client: httpx.Client) -> bool:
    """Whether the API that ``client`` talks to answers."""
    return _is_success(client, "/healthz")


def _is_success(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.TransportError:
        return False


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a role that is to have these settings."""
    names = ("redis_url", "data_dir", "weights_dir", "device")
    return os.environ | {f"DOPPEL_{name.upper()}": str(getattr(settings, name)) for name in names}


@contextmanager
def process(*command: str, env: dict[str, str] | None = None, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that is killed in the end, if it has not ended by itself.

    Args:
        options: of ``subprocess.Popen``.
    """
    child = subprocess.Popen(bound(list(command)), cwd=ROOT, env=env, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def fake_worker(redis_url: str, *options: str) -> Iterator[Fork]:
    """A worker process with the fake model, once it is at work, or dead of what it found to do.

    It is a fork: loading what it needs takes a second. What it prints is printed here when it has ended.
    """
    with (
        tempfile.NamedTemporaryFile() as output,
        fork(tests.fake_worker.main, [redis_url, *options], output=Path(output.name)) as child,
    ):
        _await_worker(redis_url, child)
        try:
            yield child
        finally:
            child.end()
            sys.stderr.write(child.printed)


@contextmanager
def fake_worker_program(redis_url: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The same as a program, which loads and measures nothing but its own."""
    with process(sys.executable, "-m", "tests.fake_worker", redis_url, *options) as child:
        _await_worker(redis_url, child)
        yield child


def _await_worker(redis_url: str, child: Fork | subprocess.Popen[bytes]) -> None:
    queue = InferenceQueue(connect(redis_url, patience_s=1))
    eventually(lambda: child.poll() or child.pid in [worker.pid for worker in queue.workers(seen_within_s=60)])


@contextmanager
def preparer(settings: Settings, *jobs: str, loaded: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """``doppel preparer`` as a process, once it takes jobs: these of ``PREPARER_JOBS``, or all.

    Args:
        loaded: a module that the processes of its jobs find loaded; else each loads what it needs.
    """
    program = ["-m", "app.cli"] if loaded is None else ["-c", f"import {loaded}, app.cli; app.cli.main()"]
    with process(sys.executable, *program, "preparer", *jobs, env=environment(settings)) as child:
        queue = PreparationQueue(connect(str(settings.redis_url), patience_s=1))

        def served() -> set[str]:
            mine = {child.pid, *children(child.pid)}
            assert child.poll() is None, "the preparer has ended"
            return {report.queue for report in queue.preparers(seen_within_s=60) if report.pid in mine}

        eventually(lambda: len(served()) == len(jobs or PREPARER_JOBS))
        yield child


def _client(port: int | str) -> httpx.Client:
    # Certificates, which plain HTTP does not need, take longer to load than many a test takes.
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False, verify=False)


@contextmanager
def api(settings: Settings, bounds: Bounds | None = None) -> Iterator[httpx.Client]:
    """The application behind a real HTTP server on loopback, and a client of it."""
    server = server_of(create_app(settings), bounds or Bounds(), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, every_s=0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        with _client(port) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=60)


@contextmanager
def api_process(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """``doppel api`` as a process, once it can translate, and a client of it."""
    port = str(free_port())
    with (
        process(sys.executable, "-m", "app.cli", "api", env=environment(settings) | {"DOPPEL_PORT": port}) as server,
        _client(port) as client,
    ):
        eventually(lambda: ready(client))
        yield server, client


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """The address of an HTTP server on loopback that has the files of ``folder``."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
