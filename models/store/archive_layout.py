"""Which layout an archive has, at whatever depth, and the place of each of its files in it."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, NamedTuple
from zipfile import ZipInfo

from models.errors import ArchiveError
from models.pictures import SUFFIXES
from models.store.datasets import HELD_OUT, Layout, Rejected

MAX_NAME = 100  # bytes of a domain's name
MAX_NAMED = 6  # folders that are named when no layout is recognised

# Suffixes that say that somebody takes the file for a picture, whether or not it can be read. A file with another one
# is none; a file without any is tried.
_OF_PICTURES = SUFFIXES | {
    ".apng", ".cr2", ".dcm", ".dib", ".dng", ".exr", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpe", ".jxl",
    ".mpo", ".nef", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga",
}  # fmt: skip
_OF_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_PAIR = re.compile(r"(train|test|val)[ _-]?([ab])", re.IGNORECASE)  # trainA, testB, as they are spelled out there

Part = Literal["train", "held out"]


@dataclass(frozen=True)
class ArchivedFile:
    """A file of an archive, and its path there (``archive_names.path_of``)."""

    info: ZipInfo
    path: str


@dataclass(frozen=True)
class ArchivedPicture(ArchivedFile):
    """A file that is taken for a picture, and the part of the data set that it belongs to."""

    part: Part
    domain: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


class _Place(NamedTuple):
    root: tuple[str, ...]  # the folders above the layout
    part: Part
    domain: str
    is_pair: bool  # trainA/ rather than train/A/


class _Root:
    """The files of one folder that may hold a data set."""

    def __init__(self) -> None:
        self.files: list[tuple[ArchivedFile, _Place]] = []
        self.pairs: set[str] = set()  # domains with pictures to train with, in trainA/ and trainB/
        self.named: set[str] = set()  # those in train/<domain>/

    def add(self, file: ArchivedFile, place: _Place) -> None:
        self.files.append((file, place))
        if place.part == "train" and _suffix(file) in _OF_PICTURES:
            (self.pairs if place.is_pair else self.named).add(place.domain)

    @property
    def trained(self) -> set[str]:
        return self.pairs | self.named

    def contents(self, root: tuple[str, ...]) -> set[tuple[tuple[str, ...], int, int]]:
        """Path, checksum and size of each file: equal for copies of a data set."""
        return {
            (PurePosixPath(file.path).parts[len(root) :], file.info.CRC, file.info.file_size) for file, _ in self.files
        }


def laid_out(files: Sequence[ArchivedFile]) -> tuple[Layout, list[ArchivedPicture], list[Rejected]]:
    """The layout, the pictures in it, and all other files with the reason why they are left out.

    Raises:
        ArchiveError: there is no layout or more than one, or a domain has a name that clients can't use.
    """
    roots: dict[tuple[str, ...], _Root] = defaultdict(_Root)
    for file in files:
        if place := _place(file):
            roots[place.root].add(file, place)
    candidates = {root: found for root, found in roots.items() if len(found.trained) >= 2}
    chosen, *copies = _without_copies(candidates, files)
    if chosen.pairs and chosen.named and (chosen.pairs & chosen.named or chosen.trained != {"A", "B"}):
        raise ArchiveError("The archive has both trainA/ and train/; one layout at a time.")
    for domain in chosen.trained:
        if len(domain.encode(errors="replace")) > MAX_NAME or not domain.isprintable():
            raise ArchiveError(
                f"The archive's domain {domain[:60]!r} needs another name: at most {MAX_NAME} bytes of characters that "
                "can be typed."
            )
    pictures, others = [], []
    for file, place in chosen.files:
        if why := _reason(file, place, chosen.trained):
            others.append(Rejected(file=file.path, why=why))
        else:
            pictures.append(ArchivedPicture(file.info, file.path, place.part, place.domain))
    placed = {id(file) for file, _ in chosen.files}
    copied = {id(file) for copy in copies for file, _ in copy.files}
    for file in files:
        if id(file) not in placed:
            others.append(
                Rejected(file=file.path, why="is a copy" if id(file) in copied else "has no place in the layout")
            )
    others.sort(key=lambda other: other.file)
    return ("unpaired" if chosen.pairs else "domains"), pictures, others


def _place(file: ArchivedFile) -> _Place | None:
    """Where a file belongs by the last folders of its path; None if they fit no layout."""
    parts = PurePosixPath(file.path).parts
    if len(parts) >= 2 and (pair := _PAIR.fullmatch(parts[-2])):
        root = parts[:-2]
        if root and root[-1].lower() == pair[1].lower():  # train/trainA
            root = root[:-1]
        return _Place(root, _part(pair[1]), pair[2].upper(), is_pair=True)
    if len(parts) >= 3 and parts[-3].lower() in ("train", *HELD_OUT):
        return _Place(parts[:-3], _part(parts[-3]), parts[-2], is_pair=False)
    return None


def _part(name: str) -> Part:
    return "train" if name.lower() == "train" else "held out"


def _suffix(file: ArchivedFile) -> str:
    return PurePosixPath(file.path).suffix.lower()


def _without_copies(candidates: dict[tuple[str, ...], _Root], files: Sequence[ArchivedFile]) -> list[_Root]:
    """The outermost folder with a data set, and others that hold nothing but the same pictures."""
    if not candidates:
        raise ArchiveError(
            "No layout was recognised in the archive. It must hold trainA/ and trainB/ (and may hold testA/ and "
            "testB/), or train/<domain>/ for two domains or more (and may hold val/<domain>/), side by side, with "
            f"pictures directly in them. {_found(files)}"
        )
    first, *more = sorted(candidates, key=lambda root: (len(root), root))
    contents = candidates[first].contents(first)
    for other in more:
        if not candidates[other].contents(other) <= contents:
            names = " and ".join(repr("/".join(root)[:60] or ".") for root in (first, other))
            raise ArchiveError(f"The archive holds several data sets, in {names}; send one at a time.")
    return [candidates[root] for root in (first, *more)]


def _reason(file: ArchivedFile, place: _Place, trained: set[str]) -> str | None:
    """Why a file in the layout is left out unread; None for those that are taken for pictures."""
    suffix = _suffix(file)
    if suffix and suffix not in _OF_PICTURES:
        return f"has no picture's suffix but {suffix}"
    if place.domain not in trained:
        return f"is of the domain {place.domain[:60]!r}, which has no pictures to train with"
    return None


def _found(files: Sequence[ArchivedFile]) -> str:
    """What an archive holds instead of a layout, for the person who has to find the mistake."""
    inner = [file.path for file in files if _suffix(file) in _OF_ARCHIVES]
    if inner and len(inner) >= len(files) / 2:
        return f"It holds another archive, {inner[0][:100]!r}; unpack that, and send a zip of what is in it."
    folders = Counter(str(PurePosixPath(file.path).parent) for file in files).most_common(MAX_NAMED)
    if not folders:
        return "It holds no files."
    return f"It holds: {', '.join(f'{count} in {folder[:60]!r}' for folder, count in folders)}."
