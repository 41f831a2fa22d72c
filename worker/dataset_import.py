"""The job that makes a data set of an uploaded archive.

RQ calls it in the process that it forks for each job. Only that process loads Pillow, and it has a memory limit, so a
hostile picture costs nobody else anything.
"""

import resource
import shutil
import sys

from rq import get_current_job

from models.errors import Unavailable
from models.store import files
from models.store.archives import Limits
from models.store.datasets import DatasetStore
from models.store.disk import Room
from models.store.importing import import_archive
from models.store.incoming import IncomingStore
from worker.import_progress import ImportProgress, place
from worker.preparation_queue import ImportTask

MEMORY_BYTES = 4 << 30  # of the process, whatever an archive contains


def import_dataset(**fields: object) -> None:
    """Make the data set that ``fields``, an :class:`ImportTask`, describe.

    The data set appears by one rename. Before that, the job is marked as no longer cancelable, so either the
    cancellation or the import wins. A job that is tried again knows by a marker file whether the rename was done.

    Raises:
        ArchiveError, DatasetError: the archive is refused.
        DatasetExists: the name is taken.
        JobCanceled: nothing appears.
        Unavailable: the archive is gone.
        OSError, StoreFull: the data set can't be stored.
        redis.RedisError: Redis stays away; the job can be tried again.
    """
    if sys.platform == "linux":  # macOS refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    job = get_current_job()
    assert job is not None, "RQ calls this"
    task = ImportTask.model_validate(fields)
    data_dir = place.get().data_dir
    incoming = IncomingStore(data_dir)
    folder = incoming.folder(job.id)
    if not incoming.archive(job.id).exists():
        raise Unavailable("The uploaded archive is gone. Send it again.")
    workspace, marker = folder / "unpacked", folder / "complete"
    with files.locked(folder / "lock"):  # the process of a try before this one may still be ending
        if marker.exists() and not workspace.exists():
            return  # published by a try that died before it could say so
        shutil.rmtree(workspace, ignore_errors=True)
        progress = ImportProgress(job)

        def claim() -> None:
            marker.touch()
            progress.forbid_cancel()

        import_archive(
            incoming.archive(job.id),
            DatasetStore(data_dir).path(task.dataset),
            workspace,
            limits=Limits(task.max_total_bytes, task.max_files, task.max_file_bytes),
            max_pixels=task.max_pixels,
            owner=task.owner,
            room=Room(data_dir, task.reserved_bytes, task.most_store_bytes),
            on_progress=progress.report,
            before_publishing=claim,
        )
