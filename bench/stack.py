"""``doppel serve`` with the weights that ship, as its users run it."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

from tests.processes import child, children, eventually, fake_worker_program, free_port, healthy, process, ready
from worker.embedded_redis import socket_url

REDIS = "redis.sock"  # what a list of processes shows of it


@dataclass(frozen=True)
class Stack:
    """The running service.

    Attributes:
        supervisor: process id of ``doppel serve``.
        data_dir: its data.
        log: the lines that its processes log, as JSON.
    """

    supervisor: int
    port: int
    data_dir: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pid(self, role: str) -> int | None:
        """The process of a role, if it is there."""
        return child(self.supervisor, REDIS if role == "redis" else f"doppel {role}")

    def pids(self) -> dict[str, list[int]]:
        """Role → ids of its processes, the supervisor among them."""
        found = {"supervisor": [self.supervisor]}
        for pid, line in children(self.supervisor).items():
            words = line.partition("doppel ")[2].partition(" --")[0].split()
            if role := "redis" if REDIS in line else " ".join(words):
                found.setdefault(role, []).append(pid)
        return found

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(socket_url(self.data_dir))


@contextmanager
def serving(data_dir: Path | None = None, **settings: object) -> Iterator[Stack]:
    """Start the service, and stop it in good order.

    Args:
        data_dir: None: a temporary folder.
        settings: by their names without DOPPEL_. Without workers, it is there once the API answers.
    """
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log.jsonl"
        port = free_port()
        chosen = {"PORT": port, "DATA_DIR": folder, "OFFLINE": 1, "LOG_FORMAT": "json"}
        chosen |= {name.upper(): value for name, value in settings.items()}
        env = {name: value for name, value in os.environ.items() if not name.startswith("DOPPEL_")}
        env |= {f"DOPPEL_{name}": str(value) for name, value in chosen.items()}
        command = (sys.executable, "-m", "app.cli", "serve")
        with log.open("wb") as file:
            supervisor = stack.enter_context(process(*command, env=env, stdout=file, stderr=file))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            awaited = healthy if settings.get("workers") == 0 else ready
            eventually(lambda: awaited(client), within_s=120)
        yield Stack(supervisor.pid, port, folder, log)
        supervisor.send_signal(signal.SIGINT)
        supervisor.wait(timeout=120)


@contextmanager
def computing(fake_ms: float | None, **settings: object) -> Iterator[Stack]:
    """:func:`serving`, or the same with a worker whose model only sleeps for ``fake_ms`` for each picture."""
    if fake_ms is None:
        with serving(**settings) as stack:
            yield stack
        return
    with serving(workers=0, **settings) as stack:
        model = ("--fixed-ms", str(fake_ms), "--max-batch", "1")
        with fake_worker_program(socket_url(stack.data_dir), *model):
            yield stack
