"""Published models with their versions: DATA_DIR/models/NAME is a link to DATA_DIR/versions/NAME/N. Loads no torch.

Swapping the link puts another version into service at once and whole; a worker sees it at its next picture.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from models.catalog import Catalog, ModelCard


class NameTaken(Exception):
    """The name is that of a model that was not published here."""


class NoVersion(Exception):
    """There is no version to go back to."""


class Versions:
    """The published models of a data folder."""

    def __init__(self, catalog: Catalog, data_dir: Path) -> None:
        self._catalog = catalog
        self._models = catalog.models_dir
        self._root = data_dir / "versions"

    def of(self, name: str) -> list[int]:
        """Numbers of the versions that there are, oldest first."""
        folder = self._root / name
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []

    def current(self, name: str) -> int | None:
        """The version in service; None for a model that was not published here."""
        link = self._models / name
        return int(link.readlink().name) if link.is_symlink() else None

    def add(self, name: str, write: Callable[[Path, int], ModelCard]) -> ModelCard:
        """Put a new version into service.

        Args:
            write: given a folder that is not there yet and the version's number, makes it a whole model folder.

        Raises:
            NameTaken: a model that ships or was fetched has this name.
        """
        if self.current(name) is None and name in self._catalog.names():
            raise NameTaken(f"{name!r} is the name of a model that was not published here; choose another name.")
        (self._root / name).mkdir(parents=True, exist_ok=True)
        number = max(self.of(name), default=0) + 1
        part = self._root / name / f".{number}.{os.getpid()}"
        try:
            card = write(part, number)
            part.rename(self._root / name / str(number))
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self._serve(name, number)
        return card

    def roll_back(self, name: str) -> int:
        """Put the version before the one in service into service, and return its number.

        Raises:
            NoVersion: the model was not published here, or there is none before.
        """
        current = self.current(name)
        if current is None:
            raise NoVersion(f"{name!r} was not published here, so it has no versions.")
        before = [number for number in self.of(name) if number < current]
        if not before:
            raise NoVersion(f"{name!r} is at version {current}, its first; there is none to go back to.")
        self._serve(name, before[-1])
        return before[-1]

    def _serve(self, name: str, number: int) -> None:
        self._models.mkdir(parents=True, exist_ok=True)
        part = self._models / f".{name}.{os.getpid()}"
        part.unlink(missing_ok=True)
        part.symlink_to(Path(os.path.relpath(self._root / name / str(number), self._models)))
        part.replace(self._models / name)
