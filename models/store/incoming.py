"""Uploaded archives that wait to become data sets: ``DATA_DIR/datasets/.incoming/<job id>/archive.zip``. No Pillow."""

import contextlib
import shutil
import time
from pathlib import Path
from typing import BinaryIO

FOLDER = ".incoming"
ABANDONED_S = 60.0  # without a write, after which an upload that no job names was left by a process that died

_CHUNK_BYTES = 1 << 20


class IncomingStore:
    """The uploads under one ``data_dir``: on the file system of the data sets, which appear by a rename."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "datasets" / FOLDER

    def folder(self, job_id: str) -> Path:
        """Where the upload that the import ``job_id`` reads lies, and what the import makes of it."""
        return self.root / job_id

    def archive(self, job_id: str) -> Path:
        return self.folder(job_id) / "archive.zip"

    def receive(self, job_id: str, upload: BinaryIO) -> None:
        """Store an upload.

        Raises:
            OSError: the disk is full, for instance; nothing of it is left.
        """
        try:
            self.folder(job_id).mkdir(parents=True)
            with self.archive(job_id).open("wb") as file:
                shutil.copyfileobj(upload, file, _CHUNK_BYTES)
        except OSError:
            self.remove(job_id)
            raise

    def remove(self, job_id: str) -> None:
        """Remove an upload with all that was made of it, if it is there."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def job_ids(self) -> list[str]:
        """The jobs whose uploads are here."""
        with contextlib.suppress(FileNotFoundError):
            return [path.name for path in self.root.iterdir()]
        return []

    def is_abandoned(self, job_id: str) -> bool:
        """Whether nothing of an upload was written for ``ABANDONED_S``."""
        written_at = []
        for path in (self.folder(job_id), self.archive(job_id)):
            with contextlib.suppress(FileNotFoundError):
                written_at.append(path.stat().st_mtime)
        return bool(written_at) and time.time() - max(written_at) > ABANDONED_S
