"""The models there are, and whether their weights are here. Reads two folders; loads no torch.

``weights/`` ships with the software and is never written. ``DATA_DIR/models/`` holds what was fetched or published.
Each has one folder per model. Where both describe a model, the files in DATA_DIR win.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from models.errors import CatalogError, CheckpointError, ModelUnavailable, UnknownModel
from models.store.files import sha256
from models.store.model_card import FOLDER_NAME, ModelCard

WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "model.json"
SAMPLE_FILES = ("sample.png", "sample.jpg", "sample.webp")  # of a model that was published, and of those that ship
LOCK_FILE = "lock.json"
FAILURE_FILE = "fetch-failed.json"
FAILURE_REMEMBERED_S = 600
DIGEST_CHARS = 12  # of the hash of its weights, which tell a model that has no version number
SETTLED_NS = 2_000_000_000  # how long nothing must have changed before a model's files are not looked at again

log = logging.getLogger("doppel.models")

Availability = Literal["ready", "not fetched", "unavailable"]


@dataclass(frozen=True)
class Model:
    """A card, and what is on disk for it now."""

    card: ModelCard
    weights: Path | None  # None while the weights are not here
    sha256: str | None  # expected digest of the weights file
    failure: str | None  # why the last fetch failed, for FAILURE_REMEMBERED_S
    sample: Path | None = None  # a picture of what it makes, if there is one

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def version(self) -> str | None:
        """Its number, if it was published here, else the beginning of its weights' hash; None if nothing tells it."""
        return str(self.card.version) if self.card.version is not None else (self.sha256 or "")[:DIGEST_CHARS] or None

    @property
    def weights_name(self) -> str:
        """Equal for models that share a weights file, and so one place in a worker's memory."""
        return self.card.shared or self.name

    def verified_weights(self) -> Path:
        """The weights file, once its bytes are known to be those that the card or the lock file tells.

        Raises:
            ModelUnavailable: it is not here.
            CheckpointError: it is another file.
        """
        if self.weights is None:
            raise ModelUnavailable(self.name, self.failure or "not fetched yet")
        if self.sha256 is not None and (digest := sha256(self.weights)) != self.sha256:
            raise CheckpointError(f"{self.weights} has sha256 {digest}, but its card or lock file says {self.sha256}")
        return self.weights

    @property
    def availability(self) -> Availability:
        if self.weights is not None:
            return "ready"
        return "unavailable" if self.failure else "not fetched"


_Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Ready:
    """A model whose weights are here."""

    model: Model
    files: list[str]  # whose change would change the model
    signature: _Signature


class Catalog:
    """The models of both folders. Looks at the disk each time, so a new folder is served without a restart."""

    def __init__(self, weights_dir: Path, data_dir: Path) -> None:
        self.weights_dir = weights_dir
        self.models_dir = data_dir / "models"
        self._read: dict[Path, tuple[int, ModelCard]] = {}
        self._ready: dict[str, _Ready] = {}  # as they were read last

    def names(self) -> list[str]:
        """The names of all models, in alphabetical order."""
        found = {path.parent.name for root in self._roots() for path in root.glob(f"*/{CARD_FILE}")}
        return sorted(filter(FOLDER_NAME.fullmatch, found))

    def all(self) -> list[Model]:
        """Every model whose card can be read. The others are logged."""
        return list(self._each())

    def _each(self) -> Iterator[Model]:
        for name in self.names():
            try:
                yield self.get(name)
            except UnknownModel:
                continue  # removed just now
            except CatalogError as error:
                log.error("%s", error)

    def known(self, name: str) -> Model | None:
        """The model of this name at the price of four calls of ``stat``; None if :meth:`get` must look at its files.

        That is so when something has changed on disk, and while its weights are not here.
        """
        ready = self._ready.get(name)
        return ready.model if ready is not None and ready.signature == _signature(ready.files) else None

    def _files(self, name: str) -> list[str]:
        """What changes when a model does: files come and go in its folders, and cards may be edited in place."""
        return [str(root / name / file) for root in self._roots() for file in ("", CARD_FILE)]

    def get(self, name: str) -> Model:
        """The model of this name.

        Raises:
            UnknownModel: there is none.
            CatalogError: its model.json cannot be read; the message says why.
        """
        if (known := self.known(name)) is not None:
            return known
        self._ready.pop(name, None)
        files = self._files(name) if FOLDER_NAME.fullmatch(name) else []
        signature = _signature(files)
        model = self._get(name)
        if model.card.shared is not None:
            files += (others := self._files(model.card.shared))
            signature += _signature(others)
        newest = max((found[1] for found in signature if found is not None), default=0)
        # A file system's clock is coarse: a second change in one tick of it would not show.
        if model.weights is not None and time.time_ns() - newest > SETTLED_NS:
            self._ready[name] = _Ready(model, files, signature)
        return model

    def _get(self, name: str) -> Model:
        folders = [_resolved(root / name) for root in self._roots()] if FOLDER_NAME.fullmatch(name) else []
        cards = [folder / CARD_FILE for folder in folders if (folder / CARD_FILE).is_file()]
        if not cards:
            raise UnknownModel(name, self.names())
        try:
            card = self._card(cards[0])
        except FileNotFoundError:  # removed just now
            raise UnknownModel(name, self.names()) from None
        if card.name != name:
            raise CatalogError(f"The card of {name!r} names the model {card.name!r}; it must be named as its folder is")
        pictures = (folder / file for folder in folders for file in SAMPLE_FILES)
        sample = next((picture for picture in pictures if picture.is_file()), None)
        if card.shared is not None:
            folders += [_resolved(root / card.shared) for root in self._roots()]
        weights = next((folder / WEIGHTS_FILE for folder in folders if (folder / WEIGHTS_FILE).is_file()), None)
        hashes = {file.name: file.sha256 for file in card.files}
        if weights is None and not cards[0].is_file():  # removed just now
            raise UnknownModel(name, self.names())
        if weights is not None:
            hashes |= read_lock(weights.parent)
        return Model(
            card=card,
            weights=weights,
            sha256=hashes.get(WEIGHTS_FILE),
            failure=self._remembered_failure(self.models_dir / name),
            sample=sample,
        )

    def can_run_any(self) -> bool:
        """Whether there is any model whose weights are here."""
        return any(model.weights is not None for model in self._each())

    def resolve(self, name: str) -> Model:
        """The model that runs for ``name``: itself, or its fallback while its weights are missing.

        Raises:
            UnknownModel: there is no model of this name.
            ModelUnavailable: neither it nor its fallback has weights here.
        """
        model = self.get(name)
        if model.weights is not None:
            return model
        if model.card.fallback is not None:
            with contextlib.suppress(UnknownModel):
                twin = self.get(model.card.fallback)
                if twin.weights is not None:
                    return twin
        raise ModelUnavailable(name, model.failure or "not fetched yet")

    def _roots(self) -> tuple[Path, Path]:
        return self.models_dir, self.weights_dir

    def _card(self, path: Path) -> ModelCard:
        modified_ns = path.stat().st_mtime_ns
        cached = self._read.get(path)
        if cached is None or cached[0] != modified_ns:
            try:
                card = ModelCard.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise CatalogError(f"{path.parent.name}/{path.name} is not a model card: {error}") from error
            cached = self._read[path] = (modified_ns, card)
        return cached[1]

    @staticmethod
    def _remembered_failure(folder: Path) -> str | None:
        try:
            record = _FailedFetch.model_validate_json((folder / FAILURE_FILE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        fresh = time.time() - record.failed_at < FAILURE_REMEMBERED_S
        return record.why if fresh else None


class _FailedFetch(BaseModel):
    """What ``FAILURE_FILE`` holds."""

    failed_at: float  # Unix time, seconds
    why: str


_LOCKED = TypeAdapter(dict[str, str])


def _signature(files: Sequence[str]) -> _Signature:
    return tuple(map(_changed, files))


def _changed(path: str) -> tuple[int, int] | None:
    """The inode and the time of the last change of a file or, through links, a folder; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, max(found.st_mtime_ns, found.st_ctime_ns)


def _resolved(folder: Path) -> Path:
    """Follow a published model's link once, since it may point elsewhere at the next look."""
    try:
        return folder.resolve()
    except FileNotFoundError:  # the link was removed just now
        return folder


def read_lock(folder: Path) -> dict[str, str]:
    """The pinned sha256 of each file in ``folder``, by file name; empty if nothing was fetched yet.

    Raises:
        CatalogError: the file that has them makes no sense.
    """
    try:
        return _LOCKED.validate_json((folder / LOCK_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        what = f"{folder.name}/{LOCK_FILE} can't be understood; without it the weights are fetched anew"
        raise CatalogError(f"{what}: {error}") from error
