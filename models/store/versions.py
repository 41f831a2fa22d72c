"""Published models and their versions. DATA_DIR/models/NAME is a link to DATA_DIR/versions/NAME/N. Loads no torch.

Replacing the link switches versions atomically; a worker notices at its next picture.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from models.errors import NameTaken, NoVersion, UnknownModel
from models.store import files
from models.store.catalog import CARD_FILE, Catalog
from models.store.files import replace_text
from models.store.model_card import ModelCard

OWNER_FILE = "owner"  # beside the versions: the name of the API key that put the first one into service
BEFORE_FILE = "before"  # in a version's folder: number of the version it replaced
REQUEST_FILE = "request"  # there too: the request that put it into service, so that a repeat makes no second version
# There too, once the version was rolled back: the request that did so; empty if that one is never repeated.
ROLLBACK_FILE = "rolled-back"


class Versions:
    """The published models of a data folder."""

    def __init__(self, catalog: Catalog, data_dir: Path) -> None:
        self._catalog = catalog
        self._models = catalog.models_dir
        self._root = data_dir / "versions"

    def of(self, name: str) -> list[int]:
        """The version numbers of a model, oldest first."""
        folder = self._root / name
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []

    def current(self, name: str) -> int | None:
        """The version in service, or None for a model that was not published here."""
        try:
            target = (self._models / name).readlink()
        except OSError:  # there is none, or it is a folder
            return None
        ours = target.name.isdigit() and target.parent.name == name and target.parent.parent.name == self._root.name
        return int(target.name) if ours else None

    def add(
        self,
        name: str,
        write: Callable[[Path, int], ModelCard],
        *,
        new: bool = False,
        in_place_of_missing: bool = False,
        owner: str | None = None,
        is_ours: Callable[[str | None], bool] = lambda owner: True,
        request: str | None = None,
    ) -> ModelCard:
        """Put a new version into service; or the one that was made for the same request, whose process died then.

        Args:
            write: called with a path that does not exist yet and the version number; writes a model folder there.
            new: it must be the first version of a new model.
            in_place_of_missing: it may be a model that ships without its weights, as long as they are not here.
            owner: the name of the API key with which this is done, which a new model belongs to from now on.
            is_ours: whether that may replace a model that belongs to another.
            request: the id of a request that may be repeated; None: it is not.

        Raises:
            NameTaken: a model that ships or was fetched has this name, or the published model is of another family; if
                it must be new, any model has this name.
        """
        with self._changing(name):
            current = self.current(name)
            made = self._of_request(name, REQUEST_FILE, request)
            if made is not None and (current != self._before(name, made) or self._is_rolled_back(name, made)):
                return self._card(name, made)  # it was in service, or another version came after it
            self.require_free(name, new=new, in_place_of_missing=in_place_of_missing)
            if current is not None and not is_ours(self.owner(name)):
                raise NameTaken(f"{name!r} was published with another API key; choose another name.")
            if made is not None:
                self._put_into_service(name, made, owner)
                return self._card(name, made)
            number = max(self.of(name), default=0) + 1
            part = self._root / name / f".{uuid4().hex}"
            try:
                card = write(part, number)
                if current is not None:
                    family = self._catalog.get(name).card.family
                    if card.family != family:
                        raise NameTaken(f"{name!r} is a model of the family {family} so far; choose another name.")
                    (part / BEFORE_FILE).write_text(str(current))
                if request is not None:
                    (part / REQUEST_FILE).write_text(request)
                part.rename(self._root / name / str(number))
            finally:
                shutil.rmtree(part, ignore_errors=True)
                with contextlib.suppress(OSError):
                    (self._root / name).rmdir()  # succeeds only if no version was ever published
            self._put_into_service(name, number, owner)
            return card

    def _of_request(self, name: str, file: str, request: str | None) -> int | None:
        """The version in whose folder this file names the request, if any."""
        for number in reversed(self.of(name)) if request is not None else ():
            with contextlib.suppress(FileNotFoundError):
                if (self._root / name / str(number) / file).read_text() == request:
                    return number
        return None

    def _card(self, name: str, number: int) -> ModelCard:
        return ModelCard.model_validate_json((self._root / name / str(number) / CARD_FILE).read_bytes())

    def _is_rolled_back(self, name: str, number: int) -> bool:
        return (self._root / name / str(number) / ROLLBACK_FILE).exists()

    def _before(self, name: str, number: int) -> int | None:
        """The version that this one replaced; None if it was the first."""
        try:
            return int((self._root / name / str(number) / BEFORE_FILE).read_text())
        except FileNotFoundError:
            return None

    def _put_into_service(self, name: str, number: int, owner: str | None) -> None:
        if self.current(name) is None and owner is not None:
            replace_text(self._root / name / OWNER_FILE, owner)
        self._serve(name, number)

    def owner(self, name: str) -> str | None:
        """The name of the API key that a published model belongs to; None: it belongs to the server's operator."""
        with contextlib.suppress(FileNotFoundError):
            return (self._root / name / OWNER_FILE).read_text().strip()
        return None

    def require_free(self, name: str, *, new: bool = False, in_place_of_missing: bool = False) -> None:
        """Refuse a name under which nothing can be put into service. Arguments and errors as for :meth:`add`."""
        if self.current(name) is None:
            known = name in self._catalog.names()
            if known and in_place_of_missing and not os.path.lexists(self._models / name):
                known = self._catalog.get(name).weights is not None
            if known or (self._models / name).is_symlink():
                raise NameTaken(f"{name!r} is the name of a model that was not published here; choose another name.")
        elif new:
            raise NameTaken(f"There is a model {name!r} already; choose another name, or remove that one first.")

    def ships_as(self, card: ModelCard) -> bool:
        """Whether a model of the card's name is known that is the same network."""
        try:
            known = self._catalog.get(card.name).card
        except UnknownModel:
            return False
        return (known.family, known.full_network) == (card.family, card.full_network)

    def roll_back(self, name: str, request: str | None = None) -> int:
        """Put the previous version back into service and return its number; once for the same request.

        Args:
            request: as for :meth:`add`.

        Raises:
            UnknownModel: there is none of this name.
            NoVersion: the model was not published here, or it has no previous version.
        """
        self._published(name)
        with self._changing(name):
            current = self._published(name)
            start = self._of_request(name, ROLLBACK_FILE, request) or current
            before = self._before(name, start)
            if before is None:
                raise NoVersion(f"{name!r} is at version {start}; no other was in service before it.")
            if current == start:
                replace_text(self._root / name / str(start) / ROLLBACK_FILE, request or "")
                self._serve(name, before)
            return before

    def remove(self, name: str) -> None:
        """Remove a published model with all its versions.

        Raises:
            UnknownModel: there is none of this name.
            NoVersion: the model was not published here.
        """
        self._published(name)
        with self._changing(name):
            self._published(name)  # it may have been removed meanwhile
            (self._models / name).unlink()
            doomed = files.hide(self._root / name)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self) -> None:
        """Finish removals that a killed process left behind."""
        files.sweep(self._root)

    def _published(self, name: str) -> int:
        """The version in service of a model that was published here.

        Raises:
            UnknownModel: there is none of this name.
            NoVersion: the model was not published here.
        """
        current = self.current(self._catalog.get(name).name)
        if current is None:
            raise NoVersion(f"{name!r} was not published here, so it has no versions; only its operator can remove it.")
        return current

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """Allow one change of a model's versions at a time, across all processes."""
        locks = self._root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with files.locked(locks / name):
            yield

    def _serve(self, name: str, number: int) -> None:
        """Point the model's link at this version."""
        self._models.mkdir(parents=True, exist_ok=True)
        with files.replacing(self._models / name) as link:
            link.symlink_to(Path(os.path.relpath(self._root / name / str(number), self._models)))
