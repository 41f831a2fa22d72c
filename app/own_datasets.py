"""Data sets as the caller sees them: those of other API keys do not exist."""

from app.callers import Caller
from models.errors import DatasetError, UnknownDataset
from models.store.datasets import DatasetInfo, DatasetStore


def own_dataset(store: DatasetStore, name: str, caller: Caller) -> DatasetInfo:
    """Describe a data set.

    Raises:
        UnknownDataset: there is none of this name, or it is another's.
        DatasetError: an operator's folder cannot be used.
    """
    if caller.is_admin:
        return store.get(name)
    try:
        info = store.get(name)
    except (UnknownDataset, DatasetError):  # those are nobody's, so not this caller's
        info = None
    if info is None or not caller.sees(info.owner):
        raise UnknownDataset(name, [info.name for info in own_datasets(store, caller)])
    return info


def own_datasets(store: DatasetStore, caller: Caller) -> list[DatasetInfo]:
    """Every usable data set of the caller's."""
    return [info for info in store.all() if caller.sees(info.owner)]
