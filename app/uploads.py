"""Uploads that become data sets and models: stored, and queued for a preparer."""

import os
from collections.abc import Callable
from typing import BinaryIO

from app.callers import Caller
from app.settings import Settings
from models.store.additions import Addition
from models.store.incoming import IncomingStore
from worker.errors import QueueError
from worker.preparation_queue import AddTask, ImportTask, PreparationQueue
from worker.webhooks import Hook

MAX_UNPACKED = 4  # times the largest archive
MAX_FILES = 200_000


class Uploads:
    """Accepts archives of data sets, and weights files; a preparer takes them in."""

    def __init__(self, settings: Settings, queue: PreparationQueue) -> None:
        self._settings = settings
        self._queue = queue
        self._incoming = IncomingStore(settings.data_dir)

    def require_preparer(self, *, torch_for: str | None = None) -> None:
        """Refuse an upload that nobody would take in.

        Args:
            torch_for: what of it needs torch, as the beginning of a sentence.

        Raises:
            Unavailable: no preparer was heard of for a while.
            NotInstalled: the preparers have no torch.
        """
        self._queue.require_preparer(torch_for=torch_for)

    def accept(self, job_id: str, name: str, upload: BinaryIO, caller: Caller, *, hook: Hook | None = None) -> None:
        """Store an archive and queue its import as the data set ``name``. From then on it survives this process.

        Args:
            job_id: a fresh one, which the caller may be listening for already.
            hook: whom to tell how the job ended.

        Raises:
            OSError: the disk is full.
            LimitReached: the caller has as many jobs in hand as they may.
            StoreFull: data sets, runs and models take all that they may.
            QueueError: it can't be queued; nothing of it is left.
        """
        settings = self._settings
        task = ImportTask(
            dataset=name,
            max_total_bytes=MAX_UNPACKED * settings.max_dataset_mb << 20,
            max_files=MAX_FILES,
            max_file_bytes=settings.max_upload_mb << 20,
            max_pixels=settings.max_pixels,
            owner=caller.name,
            reserved_bytes=settings.room.reserved_bytes,
            most_store_bytes=settings.room.most_bytes,
        )
        self._receive(job_id, upload, lambda: self._queue.submit_import(job_id, task, caller.job_allowance, hook))

    def accept_model(
        self,
        job_id: str,
        label: str,
        addition: Addition,
        upload: BinaryIO,
        caller: Caller,
        *,
        torch: bool,
        hook: Hook | None = None,
    ) -> None:
        """Store a weights file or an exported model, and queue its addition, as :meth:`accept` does for data sets.

        Args:
            label: the file's name at its sender's.
            torch: whether it takes torch to read the file.
        """
        task = AddTask(
            label=label,
            addition=addition,
            max_bytes=self._settings.max_model_mb << 20,
            torch=torch,
            owner=caller.name,
        )
        self._receive(job_id, upload, lambda: self._queue.submit_addition(job_id, task, caller.job_allowance, hook))

    def _receive(self, job_id: str, upload: BinaryIO, submit: Callable[[], None]) -> None:
        self._settings.room.require(upload.seek(0, os.SEEK_END))
        upload.seek(0)
        self._incoming.receive(job_id, upload)
        try:
            submit()
        except QueueError:
            self._incoming.remove(job_id)
            raise
