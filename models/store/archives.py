"""Zip archives from strangers: checked before anything is read, and read within limits.

Nothing is ever extracted to a path that the archive names; its pictures are read one by one.
"""

import io
import os
import stat
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from models.errors import ArchiveError, PictureRejected
from models.pictures import SUFFIXES
from models.store.datasets import HELD_OUT, Layout

MAX_RATIO = 200  # uncompressed to compressed bytes; photos hardly compress at all
SMALL_BYTES = 1 << 20  # below that a high ratio is harmless
MAX_NAME = 100  # bytes of a domain's name
ENTRY_BYTES = 512  # per file in an archive's directory; ordinary archives need far less
MAX_NAMED = 6  # folders that are named when no layout is recognised

_ENCRYPTED = 0x1
_CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Limits:
    """How large an archive may be once it is unpacked."""

    total_bytes: int
    files: int
    file_bytes: int  # of one picture


@dataclass(frozen=True)
class ArchivedPicture:
    """A picture of an archive, and the part of the data set that it belongs to."""

    info: zipfile.ZipInfo
    part: Literal["train", "held out"]
    domain: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.info.filename).name


class Archive:
    """A zip archive in one of the layouts of models.store.datasets, possibly one folder deep.

    Args:
        path: the file.
        limits: what exceeds them is refused.

    Raises:
        ArchiveError: it is not a zip file, is hostile or too large, or has no known layout.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.limits = limits
        self._file = _Reader(path, max(limits.files * ENTRY_BYTES, limits.file_bytes + 1))
        try:
            self._zip = _opened(self._file)
            self.layout, self.pictures, self.others = _laid_out(_files(self._zip.infolist(), limits))
        except ArchiveError:
            self._file.close()
            raise

    def read(self, picture: ArchivedPicture) -> bytes:
        """A picture's bytes, exactly as many as the archive declares.

        Raises:
            PictureRejected: it is damaged, or larger than a picture may be.
        """
        declared = picture.info.file_size
        if declared > self.limits.file_bytes:
            raise PictureRejected(f"has {declared:,} bytes; a picture may have {self.limits.file_bytes:,}")
        try:
            with self._zip.open(picture.info) as file:
                data = file.read(declared + 1)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise PictureRejected(f"is damaged: {error}") from error
        except Exception as error:  # zlib, lzma and bz2 each raise their own
            raise PictureRejected(f"is damaged: {type(error).__name__}") from error
        if len(data) != declared:
            raise PictureRejected("is not as long as the archive says")
        return data

    def close(self) -> None:
        self._zip.close()
        self._file.close()


class _Reader(io.BufferedReader):
    """An archive's file, which refuses to read a directory so long that its entries would fill the memory.

    Only the directory is read in one piece, so a limit on a single read is a limit on the directory.

    Raises:
        ArchiveError: a single read of more than ``max_read_bytes``.
    """

    def __init__(self, path: Path, max_read_bytes: int) -> None:
        super().__init__(io.FileIO(path))
        self._max_read_bytes = max_read_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._max_read_bytes:
            raise ArchiveError(
                f"The archive's directory has {size:,} bytes; at most {self._max_read_bytes:,} are taken."
            )
        return super().read(size)


def _opened(file: io.BufferedReader) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ArchiveError(f"The archive is not a zip file that can be read: {error}.") from error


def _files(entries: list[zipfile.ZipInfo], limits: Limits) -> list[zipfile.ZipInfo]:
    """The archive's files without clutter, once all of them were found harmless."""
    if len(entries) > limits.files:
        raise ArchiveError(f"The archive has {len(entries):,} files; at most {limits.files:,} are taken.")
    infos = [info for info in entries if not info.is_dir()]
    for info in infos:
        _check(info)
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        raise ArchiveError(
            f"The archive would come to {total >> 20:,} MiB; at most {limits.total_bytes >> 20:,} MiB are taken."
        )
    return [info for info in infos if not _is_clutter(info.filename)]


def _check(info: zipfile.ZipInfo) -> None:
    """Refuse a file that no honest archive of pictures contains."""
    name = info.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise ArchiveError(f"The archive names a path outside itself, {name[:100]!r}; paths must be relative.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ArchiveError(f"The archive holds a link, {name[:100]!r}; only plain files are taken.")
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError("The archive is encrypted; send it without a password.")
    if info.file_size > SMALL_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
        raise ArchiveError(
            f"The archive's {name[:100]!r} would unpack to {info.file_size / max(1, info.compress_size):,.0f} times "
            f"its size; at most {MAX_RATIO} times is taken."
        )


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not parts or any(part in _CLUTTER or part.startswith(".") for part in parts)


def _laid_out(infos: list[zipfile.ZipInfo]) -> tuple[Layout, list[ArchivedPicture], list[str]]:
    """The layout, the pictures that fit it, and the names of all other files."""
    tops = {PurePosixPath(info.filename).parts[0] for info in infos}
    for depth in (0, 1) if len(tops) == 1 else (0,):
        pictures: list[ArchivedPicture] = []
        others: list[str] = []
        for info in infos:
            part_and_domain = _part_and_domain(PurePosixPath(info.filename).parts[depth:])
            if part_and_domain is None:
                others.append(info.filename)
            else:
                pictures.append(ArchivedPicture(info, *part_and_domain))
        trained = {picture.domain for picture in pictures if picture.part == "train"}
        unpaired = {f"train{domain}" for domain in "AB"}
        if len(trained) >= 2:
            folders = {PurePosixPath(picture.info.filename).parts[depth] for picture in pictures}
            if unpaired <= folders and "train" in folders:
                raise ArchiveError("The archive has both trainA/ and train/; one layout at a time.")
            known = [picture for picture in pictures if picture.domain in trained]
            others += [picture.info.filename for picture in pictures if picture.domain not in trained]
            return ("unpaired" if unpaired <= folders else "domains"), known, others
    raise ArchiveError(
        "No layout was recognised in the archive. It must hold trainA/ and trainB/ (and may hold testA/ and testB/), "
        "or train/<domain>/ for two domains or more (and may hold val/<domain>/), at its top or one folder deep, with "
        f"pictures ({', '.join(sorted(SUFFIXES))}) directly in them. {_found(infos)}"
    )


def _found(infos: list[zipfile.ZipInfo]) -> str:
    """The archive's fullest folders, for the person who has to find the mistake."""
    folders = Counter(str(PurePosixPath(info.filename).parent) for info in infos).most_common(MAX_NAMED)
    if not folders:
        return "It holds no files."
    return f"It holds: {', '.join(f'{count} in {folder[:60]!r}' for folder, count in folders)}."


def _part_and_domain(parts: tuple[str, ...]) -> tuple[Literal["train", "held out"], str] | None:
    """Part and domain of a file by its path; None if the path fits no layout."""
    if PurePosixPath(parts[-1] if parts else "").suffix.lower() not in SUFFIXES:
        return None
    if len(parts) == 2 and parts[0] in ("trainA", "trainB", "testA", "testB"):
        return ("train" if parts[0].startswith("train") else "held out"), parts[0][-1]
    if len(parts) == 3 and parts[0] in ("train", *HELD_OUT) and len(os.fsencode(parts[1])) <= MAX_NAME:
        return ("train" if parts[0] == "train" else "held out"), parts[1]
    return None


def in_order(pictures: list[ArchivedPicture]) -> list[ArchivedPicture]:
    """In the order of the archive, in which it reads fastest."""
    return sorted(pictures, key=lambda picture: picture.info.header_offset)
