"""The generators held in memory, within a budget; the least recently used goes first."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from models.errors import UnknownModel
from models.pictures import Picture
from models.serving.stylist import Guide, Stylist
from models.serving.translator import Translator
from models.stargan_v2.style import interpolated
from models.store.catalog import Catalog
from worker.errors import ModelRemoved
from worker.work import Work

log = logging.getLogger("doppel.worker")


@dataclass(frozen=True)
class _Resident:
    model: Translator | Stylist
    version: tuple[str, int]  # weights file and its time of change: another one is another model


class Residents:
    """Loads each model once, keeps it, and drops the least recently used when ``budget_bytes`` of weights is passed."""

    def __init__(self, catalog: Catalog, device: torch.device, *, budget_bytes: int) -> None:
        self.catalog = catalog
        self.device = device
        self.budget_bytes = budget_bytes
        self._residents: OrderedDict[str, _Resident] = OrderedDict()
        self._streaming: str | None = None  # the model of a long job, which stays in memory while others pass

    def names(self) -> list[str]:
        """Models in memory, most recently used last."""
        return list(self._residents)

    def perform(self, works: Sequence[Work]) -> Sequence[Picture | list[float]]:
        """Run works of one batch key on their model, loading it first if need be."""
        task = works[0].task
        model = self.load(task.model)
        if isinstance(model, Translator):
            return model([work.pictures[0] for work in works])
        works = [_aligned(work, model) for work in works]
        guides = [guide for work in works for guide in _guides(work)]
        if task.kind == "style":
            codes: list[list[float]] = model.styles(guides).tolist()
            return codes
        sources = model.prepare([work.pictures[0] for work in works])
        return model.paint(sources, range(len(works)), model.styles(guides))

    def stream(self, work: Work, *, at_once: int) -> Iterator[list[Picture]]:
        """The pictures of a grid or video, ``at_once`` at a time; a grid's after its sources and references."""
        task = work.task
        model = self.load(task.model)
        assert isinstance(model, Stylist), "a long job was accepted for a model that has no styles"
        self._streaming = task.model
        try:
            yield from self._pieces(work, model, at_once)
        finally:
            self._streaming = None

    @staticmethod
    def _pieces(work: Work, model: Stylist, at_once: int) -> Iterator[list[Picture]]:
        task = work.task
        work = _aligned(work, model)
        sources = model.prepare(work.pictures[: task.sources])
        styles = model.styles(_guides(work))
        if task.kind == "grid":
            yield work.pictures
        else:
            styles = interpolated(styles, task.frames)
        cells = [(row, column) for row in range(len(styles)) for column in range(task.sources)]
        for first in range(0, len(cells), at_once):
            chosen = cells[first : first + at_once]
            yield model.paint(sources, [column for _, column in chosen], styles[[row for row, _ in chosen]])

    def load(self, name: str) -> Translator | Stylist:
        """The model, from memory or from disk.

        Raises:
            CatalogError, CheckpointError: it cannot be loaded; the message says why.
            ModelRemoved: it is not there any more.
        """
        try:
            model = self.catalog.get(name)
        except UnknownModel as error:
            raise ModelRemoved(name) from error
        weights = model.weights
        try:
            # A published model's folder is a link, which another version may be behind tomorrow.
            version = (str(weights.resolve()), weights.stat().st_mtime_ns) if weights else ("", 0)
            resident = self._residents.get(name)
            if resident is None or resident.version != version:
                family = Stylist if model.card.family == "stargan_v2" else Translator
                resident = _Resident(family(model, self.device), version)
                self._residents[name] = resident
        except Exception as error:
            if weights is None or weights.exists():
                raise
            raise ModelRemoved(name) from error
        self._residents.move_to_end(name)
        self._evict(keep=name)
        return resident.model

    def _evict(self, keep: str) -> None:
        for name in list(self._residents):
            if self._nbytes() <= self.budget_bytes:
                break
            if name in (keep, self._streaming):
                continue
            del self._residents[name]
            log.info("dropped %s from memory", name)

    def _nbytes(self) -> int:
        return sum(resident.model.nbytes for resident in self._residents.values())


def _aligned(work: Work, model: Stylist) -> Work:
    return Work(work.task, model.aligned(work.pictures)) if work.task.align else work


def _guides(work: Work) -> list[Guide]:
    """What the model is told; a picture whose own style is asked for is its own reference."""
    task = work.task
    references = iter(work.pictures if task.kind == "style" else work.pictures[task.sources :])
    return [
        Guide(
            guide.domain,
            guide.psi,
            guide.seed,
            guide.latent,
            guide.style,
            reference=next(references) if guide.by_reference else None,
        )
        for guide in task.guides
    ]
