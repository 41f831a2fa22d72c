"""Data sets: folders of pictures in one of two layouts. Loads no torch.

``trainA/ trainB/ [testA/ testB/]``                 two domains, A and B
``train/<domain>/ ... [val/<domain>/ or test/...]`` two or more named domains
"""

import contextlib
import hashlib
import io
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from pydantic import BaseModel, ValidationError

from models.errors import DatasetError, DatasetInUse, PictureRejected, UnknownDataset
from models.pictures import SUFFIXES, list_pictures, list_subfolders
from models.pictures.decoding import EncodedPicture
from models.store import files
from models.store.names import NAME

INFO_FILE = "dataset.json"
PREVIEW_FILE = "preview.jpg"
HELD_OUT = ("val", "test")
LEAST_PICTURES = 2  # to train with, in each domain
THUMBNAIL_PX = 128
SHOWN_DOMAINS = 100  # rows of a preview; JPEG limits its height
SHOWN = 8  # pictures per domain in a preview

log = logging.getLogger("doppel.models")

Layout = Literal["unpaired", "domains"]


class ListedPicture(NamedTuple):
    """A picture of a data set: its domain, its path in the data set, and its size."""

    domain: str
    path: str
    nbytes: int


class DomainInfo(BaseModel):
    """How many pictures a domain has."""

    train: int
    held_out: int = 0


class Rejected(BaseModel):
    """A file of an archive that was left out, and the reason."""

    file: str
    why: str


class PictureNote(BaseModel):
    """Something to know about how a picture of an archive was read."""

    file: str
    note: str


class DatasetInfo(BaseModel):
    """A data set. Picture sizes, duplicates and rejected files are known only for uploads, which were decoded."""

    name: str
    layout: Layout
    domains: dict[str, DomainInfo]
    created_at: datetime
    nbytes: int
    smallest_px: tuple[int, int] | None = None  # width, height of the picture with the fewest pixels
    largest_px: tuple[int, int] | None = None
    duplicates: list[list[str]] = []  # groups of files with the same pixels
    rejected: list[Rejected] = []  # the first ones, pictures before other files
    rejected_count: int = 0
    notes: list[PictureNote] = []  # the first ones
    owner: str | None = None  # the name of the API key that uploaded it

    @property
    def pictures(self) -> int:
        return sum(domain.train + domain.held_out for domain in self.domains.values())


def domain_folders(root: Path, part: str = "train") -> dict[str, Path]:
    """The folder of each domain in this part, ordered by domain name; empty if the layout is not recognised."""
    if (root / part).is_dir():
        return {path.name: path for path in list_subfolders(root / part)}
    return {domain: root / f"{part}{domain}" for domain in "AB" if (root / f"{part}{domain}").is_dir()}


def held_out_folders(root: Path) -> dict[str, Path]:
    """The folder of held-out pictures of each domain that has one. Training never reads them."""
    found: dict[str, Path] = {}
    for part in reversed(HELD_OUT):
        found |= domain_folders(root, part)
    return found


def describe(root: Path) -> DatasetInfo:
    """Count the pictures of a data set.

    Raises:
        DatasetError: the layout is not recognised, or a domain has too few pictures.
    """
    folders = domain_folders(root)
    if len(folders) < 2:
        raise DatasetError(
            f"{root.name} has neither trainA/ and trainB/ nor train/<domain>/ for two domains or more; one of these "
            "layouts is needed"
        )
    held_out = held_out_folders(root)
    domains = {}
    nbytes = 0
    for name, folder in folders.items():
        train = list_pictures(folder)
        if len(train) < LEAST_PICTURES:
            raise DatasetError(
                f"the domain {name} has {len(train)} pictures to train with; at least {LEAST_PICTURES} are needed "
                f"({', '.join(sorted(SUFFIXES))})"
            )
        unseen = list_pictures(held_out[name]) if name in held_out else []
        domains[name] = DomainInfo(train=len(train), held_out=len(unseen))
        nbytes += sum(path.stat().st_size for path in (*train, *unseen))
    return DatasetInfo(
        name=root.name,
        layout="domains" if (root / "train").is_dir() else "unpaired",
        domains=domains,
        created_at=datetime.fromtimestamp(root.stat().st_mtime, UTC),
        nbytes=nbytes,
    )


def fingerprint(root: Path) -> str:
    """A digest of a data set's pictures by relative path and size. A different one means a different training order.

    Raises:
        FileNotFoundError: a picture was removed meanwhile.
    """
    return fingerprint_of(listing(root))


def fingerprint_of(listed: Iterable[ListedPicture]) -> str:
    """The same of a :func:`listing`."""
    digest = hashlib.sha256()
    for picture in listed:
        digest.update(f"{picture.domain}\0{picture.path}\0{picture.nbytes}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def listing(root: Path) -> list[ListedPicture]:
    """All pictures of a data set, those to train with first, each domain's in the order of their names.

    Raises:
        FileNotFoundError: a picture was removed meanwhile.
    """
    return [
        ListedPicture(name, path.relative_to(root).as_posix(), path.stat().st_size)
        for folders in (domain_folders(root), held_out_folders(root))
        for name, folder in folders.items()
        for path in list_pictures(folder)
    ]


def contact_sheet(root: Path, *, on_picture: Callable[[], None] = lambda: None) -> bytes:
    """A JPEG with one row of evenly chosen training pictures per domain.

    Args:
        on_picture: called before each picture is read, since large ones take a while.

    Raises:
        DatasetError: the layout is not recognised.
    """
    rows = []
    for folder in list(domain_folders(root).values())[:SHOWN_DOMAINS]:
        pictures = list_pictures(folder)
        rows.append(pictures[:: max(1, len(pictures) // SHOWN)][:SHOWN])
    if not rows:
        raise DatasetError(f"{root.name} holds no domains")
    sheet = Image.new("RGB", (SHOWN * THUMBNAIL_PX, len(rows) * THUMBNAIL_PX), "white")
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            on_picture()
            try:
                thumbnail = EncodedPicture(path.read_bytes()).shown(at_least=(THUMBNAIL_PX, THUMBNAIL_PX)).image
            except (PictureRejected, OSError) as error:
                log.info("%s is left white in the preview: %s", path, error)
                continue
            thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
            sheet.paste(thumbnail, (x * THUMBNAIL_PX, y * THUMBNAIL_PX))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=90)
    return file.getvalue()


def valid_name(name: str) -> bool:
    """Whether this is a valid data set name. It is a folder name, never a path."""
    return NAME.fullmatch(name) is not None


class DatasetStore:
    """The data sets in ``DATA_DIR/datasets/``: uploads, and folders that an operator put there."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "datasets"

    def path(self, name: str) -> Path:
        return self.root / name

    def names(self) -> list[str]:
        """The names of all folders with a known layout, in alphabetical order."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if valid_name(path.name) and self._has_layout(path))

    @staticmethod
    def _has_layout(path: Path) -> bool:
        with contextlib.suppress(OSError):  # removed meanwhile, or not for this process to read
            return bool(domain_folders(path))
        return False

    def all(self) -> list[DatasetInfo]:
        """Every usable data set."""
        return list(self._usable(self.names()))

    def page(
        self, *, after: str = "", limit: int | None = None, wanted: Callable[[DatasetInfo], bool] = lambda info: True
    ) -> tuple[list[DatasetInfo], str | None]:
        """Usable data sets in the order of their names.

        Args:
            after: only those with later names.
            limit: most that are returned.
            wanted: which count at all.

        Returns:
            The data sets; and the name of the last one if there are more.
        """
        found: list[DatasetInfo] = []
        for info in filter(wanted, self._usable(name for name in self.names() if name > after)):
            if len(found) == limit:
                return found, found[-1].name
            found.append(info)
        return found, None

    def _usable(self, names: Iterable[str]) -> Iterable[DatasetInfo]:
        for name in names:
            try:
                yield self.get(name)
            except (DatasetError, UnknownDataset):
                continue

    def get(self, name: str) -> DatasetInfo:
        """Describe one data set.

        Raises:
            UnknownDataset: there is none of this name.
            DatasetError: an operator's folder cannot be used.
        """
        path = self.path(name)
        if not valid_name(name) or not path.is_dir():
            raise UnknownDataset(name, self.names())
        try:
            info = DatasetInfo.model_validate_json((path / INFO_FILE).read_bytes())
        except (OSError, ValidationError):
            with self._reading(name):
                return describe(path)
        return info.model_copy(update={"name": name})  # an operator may have renamed the folder

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Translate errors of reading a data set, which may be removed meanwhile; raises as :meth:`get` does."""
        try:
            yield
        except (OSError, DatasetError) as error:
            if not self.path(name).is_dir():
                raise UnknownDataset(name, self.names()) from error
            if isinstance(error, DatasetError):
                raise
            if isinstance(error, FileNotFoundError):
                raise DatasetError(f"pictures of {name} were removed while they were read; try again") from error
            raise DatasetError(f"{name} cannot be read: {error}") from error

    def preview(self, name: str) -> bytes:
        """The stored contact sheet of an upload, or a fresh one of an operator's folder; raises as :meth:`get` does."""
        self.get(name)
        with contextlib.suppress(FileNotFoundError):
            return (self.path(name) / PREVIEW_FILE).read_bytes()
        with self._reading(name):
            return contact_sheet(self.path(name))

    def remove(self, name: str, *, users: Callable[[], list[str]]) -> None:
        """Remove a data set; it vanishes at once, whole.

        Args:
            users: returns the runs that need it. Called before the folder is hidden, and again afterwards for runs
                that were started in between.

        Raises:
            UnknownDataset: there is none of this name.
            DatasetInUse: there are such runs; the data set stays.
        """
        self.get(name)
        if using := users():
            raise DatasetInUse(name, using)
        try:
            doomed = files.hide(self.path(name))
        except FileNotFoundError:
            raise UnknownDataset(name, self.names()) from None
        try:
            if using := users():
                raise DatasetInUse(name, using)
        except BaseException:  # including an unreachable queue
            doomed.rename(self.path(name))
            raise
        if doomed.is_symlink():
            doomed.unlink()
        shutil.rmtree(doomed, ignore_errors=True)
