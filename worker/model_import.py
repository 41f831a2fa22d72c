"""The job that puts an uploaded weights file or exported model into service.

RQ calls it in the process that it forks for each job. That process alone loads torch, or OpenVINO for an exported
model, and it has a memory limit.
"""

import resource
import sys

from rq import get_current_job

from models.adding import add
from models.errors import Unavailable, UnknownModel
from models.store import files
from models.store.catalog import Catalog
from models.store.incoming import IncomingStore
from models.store.versions import Versions
from worker.import_progress import ImportProgress, place
from worker.preparation_queue import AddTask

MEMORY_BYTES = 4 << 30  # of the process's data, besides the file three times: read, converted and on trial


def import_model(**fields: object) -> None:
    """Put the model that ``fields``, an :class:`AddTask`, describe into service.

    As with data sets, the job can't be canceled from just before the model appears, and a job that is tried again
    knows by a marker file, which holds the weights' digest, whether it did appear.

    Raises:
        ArchiveError, CheckpointError, Invalid: the file is refused.
        NameTaken: there is a model of this name.
        JobCanceled: nothing appears.
        Unavailable: the upload is gone.
        OSError: the model can't be stored.
        redis.RedisError: Redis stays away; the job can be tried again.
    """
    job = get_current_job()
    assert job is not None, "RQ calls this"
    task = AddTask.model_validate(fields)
    data_dir = place.get().data_dir
    incoming = IncomingStore(data_dir)
    upload = incoming.archive(job.id)
    if not upload.exists():
        raise Unavailable("The uploaded file is gone. Send it again.")
    if sys.platform == "linux":  # macOS refuses to set it
        limit = MEMORY_BYTES + 3 * upload.stat().st_size
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    catalog = Catalog(place.get().weights_dir, data_dir)
    marker = incoming.folder(job.id) / "complete"
    with files.locked(incoming.folder(job.id) / "lock"):  # the process of a try before this one may still be ending
        if marker.exists() and _digest(catalog, task.addition.name) == marker.read_text():
            return  # put into service by a try that died before it could say so
        progress = ImportProgress(job)

        def claim(digest: str) -> None:
            marker.write_text(digest)
            progress.forbid_cancel()

        versions = Versions(catalog, data_dir)
        add(
            upload,
            versions,
            task.addition,
            label=task.label,
            max_bytes=task.max_bytes,
            owner=task.owner,
            before_service=claim,
        )


def _digest(catalog: Catalog, name: str | None) -> str | None:
    """The sha256 of the weights that are in service under ``name``."""
    try:
        return catalog.get(name or "").sha256
    except UnknownModel:
        return None
