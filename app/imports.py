"""Uploaded archives on their way to data sets: each in a process of its own, seen as a job."""

import contextlib
import fcntl
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

import redis
from pydantic import ValidationError

from app.settings import Settings
from models.process import bound
from models.store import files
from models.store.archives import Limits
from models.store.datasets import DatasetStore
from models.store.importing import Line, Order
from worker.contract import Failure, FailureCode
from worker.errors import QueueError
from worker.records import Record

UNPACKED = 4  # times the largest archive is what one may come to
MAX_FILES = 200_000
INCOMING = ".incoming"
LOCK_FILE = "lock"  # held by the process that makes a data set of an upload
AT_ONCE = 2  # imports of a process; others wait
KEEP_ALIVE_S = 10

log = logging.getLogger("doppel.app")


class Imports:
    """Takes archives on; what comes of each is in its job."""

    def __init__(self, settings: Settings, connection: redis.Redis) -> None:
        self._settings = settings
        self._connection = connection
        self._turns = threading.Semaphore(AT_ONCE)
        self._incoming = DatasetStore(settings.data_dir).root / INCOMING
        self._locks: dict[Path, BinaryIO] = {}  # of the uploads in hand
        self._limits = Limits(
            total_bytes=UNPACKED * settings.max_dataset_mb << 20,
            files=MAX_FILES,
            file_bytes=settings.max_upload_mb << 20,
        )

    def sweep(self) -> None:
        """Remove what imports and removals left behind whose process was killed."""
        files.sweep(self._incoming.parent)
        files.sweep(self._incoming, also="*")
        self._sweep_incoming()

    def _sweep_incoming(self) -> None:
        """Remove the uploads of which no process that lives makes a data set; they may be large."""
        for lock in self._incoming.glob(f"*/{LOCK_FILE}"):
            with contextlib.suppress(OSError), lock.open("rb") as file:  # another process sweeps too, or it is in use
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)

    def receive(self, upload: BinaryIO) -> Path:
        """Move an upload to the disk that the data set will be on; the folder it is in, ``archive.zip``.

        Raises:
            OSError: the disk is full.
        """
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._sweep_incoming()
        workplace = Path(tempfile.mkdtemp(dir=self._incoming))
        try:
            # Locked before it has its name, by which a sweep finds it.
            lock = self._locks[workplace] = (workplace / f"{LOCK_FILE}.part").open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
            (workplace / f"{LOCK_FILE}.part").rename(workplace / LOCK_FILE)
            with (workplace / "archive.zip").open("wb") as file:
                shutil.copyfileobj(upload, file, 1 << 20)
        except OSError:
            self._discard(workplace)
            raise
        return workplace

    def _discard(self, workplace: Path) -> None:
        shutil.rmtree(workplace, ignore_errors=True)
        if (lock := self._locks.pop(workplace, None)) is not None:
            lock.close()

    def record(self, name: str, workplace: Path) -> Record:
        """The job of an import that is to be started of what was received.

        Raises:
            QueueUnreachable: there can be none; what was received is gone.
        """
        try:
            return Record(self._connection, kind="dataset", dataset=name)
        except QueueError:
            self._discard(workplace)
            raise

    def start(self, record: Record, name: str, workplace: Path) -> None:
        """Import what was received."""
        threading.Thread(target=self._run, args=(record, name, workplace), daemon=True).start()

    def _run(self, record: Record, name: str, workplace: Path) -> None:
        order = Order(
            archive=workplace / "archive.zip",
            data_dir=self._settings.data_dir,
            name=name,
            workplace=workplace / "unpacked",
            limits=self._limits,
            max_pixels=self._settings.max_pixels,
        )
        try:
            while not self._turns.acquire(timeout=KEEP_ALIVE_S):
                if not record.progress(0.0):
                    return  # canceled while it waited
            try:
                self._watch(record, order)
            finally:
                self._turns.release()
        except (QueueError, OSError) as error:
            log.error("the import of %s was given up: %s", name, error)
        finally:
            self._discard(workplace)

    @staticmethod
    def _is_wanted(record: Record, said: Line) -> bool:
        """Tell how far the import is; False if it was canceled meanwhile."""
        under_way = said.progress is not None and said.progress < 1
        return not under_way or record.progress(said.progress or 0.0)

    def _watch(self, record: Record, order: Order) -> None:
        command = bound([sys.executable, "-m", "models.store.importing"])
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(order.model_dump_json() + "\n")
            process.stdin.flush()
            last = Line()
            for text in process.stdout:
                try:
                    last = Line.model_validate_json(text)
                except ValidationError:
                    continue  # what a library had to say
                if last.ready and record.commit():
                    process.stdin.write("go on\n")
                    process.stdin.close()
                elif last.ready or not self._is_wanted(record, last):
                    process.kill()  # canceled
                    return
        if last.progress == 1:
            record.succeeded()
        elif last.refused is not None:
            code = FailureCode.NAME_TAKEN if last.taken else FailureCode.ARCHIVE_REFUSED
            record.failed(Failure(code=code, detail=last.refused))
        else:
            detail = last.failed or "The process that read the archive died."
            record.failed(Failure(code=FailureCode.IMPORT_FAILED, detail=detail))
