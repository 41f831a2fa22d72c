"""The generators held in memory, within a budget; the least recently used goes first."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.catalog import Catalog
from models.translator import Translator
from worker.pictures import Picture

log = logging.getLogger("doppel.worker")


@dataclass(frozen=True)
class _Resident:
    translator: Translator
    version: tuple[str, int]  # weights file and its time of change: another one is another model


class Residents:
    """Loads each model once, keeps it, and drops the least recently used when ``budget_bytes`` of weights is passed."""

    def __init__(self, catalog: Catalog, device: torch.device, *, budget_bytes: int) -> None:
        self.catalog = catalog
        self.device = device
        self.budget_bytes = budget_bytes
        self._residents: OrderedDict[str, _Resident] = OrderedDict()

    def names(self) -> list[str]:
        """Models in memory, most recently used last."""
        return list(self._residents)

    def translate(self, name: str, pictures: Sequence[Picture]) -> list[Picture]:
        """Run a model of the catalog on N pictures (H, W, 3) of one shape, loading it first if need be."""
        return self.load(name)(pictures)

    def load(self, name: str) -> Translator:
        """The model's translator, from memory or from disk.

        Raises:
            CatalogError, CheckpointError: it cannot be loaded; the message says why.
        """
        model = self.catalog.get(name)
        version = (str(model.weights), model.weights.stat().st_mtime_ns) if model.weights else ("", 0)
        resident = self._residents.get(name)
        if resident is None or resident.version != version:
            resident = _Resident(Translator(model, self.device), version)
            self._residents[name] = resident
        self._residents.move_to_end(name)
        self._evict(keep=name)
        return resident.translator

    def _evict(self, keep: str) -> None:
        while len(self._residents) > 1 and self._nbytes() > self.budget_bytes:
            name = next(iter(self._residents))
            assert name != keep, "the model in use is the most recently used one"
            del self._residents[name]
            log.info("dropped %s from memory", name)

    def _nbytes(self) -> int:
        return sum(resident.translator.nbytes for resident in self._residents.values())
