"""The job that downloads a model's weights. RQ calls it in the process that it forks for each job."""

from rq import get_current_job

from models.errors import FetchError
from models.process import quick_imports
from models.store.catalog import Catalog
from worker.import_progress import ImportProgress, place
from worker.preparation_queue import FetchTask

with quick_imports():
    from models.weights.fetch import fetch


def fetch_model(**fields: object) -> None:
    """Download the weights of the model that ``fields``, a :class:`FetchTask`, name.

    Raises:
        UnknownModel: there is no such model.
        FetchError, CheckpointError, NotInstalled: as :func:`models.weights.fetch.fetch` does.
        JobCanceled: what was downloaded is kept for the next try.
        redis.RedisError: Redis stays away; the job can be tried again.
    """
    job = get_current_job()
    assert job is not None, "RQ calls this"
    task = FetchTask.model_validate(fields)
    here = place.get()
    catalog = Catalog(here.weights_dir, here.data_dir)
    card = catalog.get(task.model).card
    if here.offline:
        raise FetchError("The preparer downloads nothing: DOPPEL_OFFLINE is set")
    progress = ImportProgress(job)
    fetch(
        card,
        catalog.models_dir / card.name,
        mirror=here.weights_url,
        report=progress.report,
        downloaded=progress.forbid_cancel,
    )
