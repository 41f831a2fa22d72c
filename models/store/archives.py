"""Zip archives from strangers: checked before anything is read, and read within limits.

Nothing is ever extracted to a path that the archive names; its pictures are read one by one. How far a file is
compressed does not matter, since an honest picture of one colour shrinks to a thousandth. What protects is that each
read is limited, that the sum of all sizes is, and that no two files may share their bytes.
"""

import io
import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from models.errors import ArchiveError, PictureRejected
from models.pictures import is_clutter
from models.store.archive_kinds import is_split, what_it_is
from models.store.archive_layout import ArchivedFile, ArchivedPicture, laid_out
from models.store.archive_names import leads_outside, path_of

ENTRY_BYTES = 512  # per file in an archive's directory; ordinary archives need far less

_ENCRYPTED = 0x1
_HEADER_BYTES = 30  # before each file, and its name
# Methods of compression by their number in the format, but for those that every Python's zipfile reads.
_METHODS = {
    1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 9: "Deflate64", 10: "Implode",
    12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 96: "JPEG recompression", 97: "WavPack", 98: "PPMd", 99: "AES",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How large an archive may be once it is unpacked."""

    total_bytes: int
    files: int
    file_bytes: int  # of one picture


class Archive:
    """A zip archive in one of the layouts of models.store.datasets, at any depth.

    Attributes:
        layout: of the two that there are.
        pictures: the files that are taken for pictures.
        others: all other files but clutter, each with the reason why it is left out.

    Args:
        path: the file.
        limits: what exceeds them is refused.

    Raises:
        ArchiveError: it is not a zip file, is hostile or too large, or has no known layout.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.limits = limits
        with path.open("rb") as file:
            if is_split(file):
                raise ArchiveError("The archive is one part of a split zip archive; join the parts first.")
        self._file = _Reader(path, max(limits.files * ENTRY_BYTES, limits.file_bytes + 1))
        try:
            self._zip = _opened(self._file)
            self.layout, self.pictures, self.others = laid_out(_files(self._zip.infolist(), limits))
            _check(self.pictures, limits)
        except ArchiveError:
            self._file.close()
            raise

    def read(self, picture: ArchivedPicture) -> bytes:
        """A picture's bytes, exactly as many as the archive declares.

        Raises:
            PictureRejected: it can't be unpacked, or is larger than a picture may be.
        """
        declared = picture.info.file_size
        if declared > self.limits.file_bytes:
            raise PictureRejected(f"has {declared:,} bytes; a picture may have {self.limits.file_bytes:,}")
        if picture.info.flag_bits & _ENCRYPTED:
            raise PictureRejected("is encrypted; send it without a password")
        try:
            with self._zip.open(picture.info) as file:
                data = file.read(declared + 1)
        except NotImplementedError as error:
            raise PictureRejected(_method(picture.info)) from error
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
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
    except UnicodeDecodeError as error:
        raise ArchiveError("The archive says that its names are UTF-8, but one of them is not.") from error
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        why = what_it_is(file) or error
        raise ArchiveError(f"The archive is not a zip file that can be read: {why}.") from error


def _files(entries: list[zipfile.ZipInfo], limits: Limits) -> list[ArchivedFile]:
    """The archive's files without clutter.

    Raises:
        ArchiveError: there are too many, or one is such as no honest archive of pictures contains.
    """
    if len(entries) > limits.files:
        raise ArchiveError(f"The archive has {len(entries):,} files; at most {limits.files:,} are taken.")
    files = [ArchivedFile(info, path_of(info)) for info in entries]
    files = [file for file in files if not file.path.endswith("/")]
    for file in files:
        if leads_outside(file.path):
            raise ArchiveError(f"The archive names a path outside itself, {file.path[:100]!r}; paths must be relative.")
        if stat.S_ISLNK(file.info.external_attr >> 16):
            raise ArchiveError(f"The archive holds a link, {file.path[:100]!r}; only plain files are taken.")
    return [file for file in files if not _is_clutter(file.path)]


def _is_clutter(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not parts or any(is_clutter(part) for part in parts)


def _check(pictures: Sequence[ArchivedPicture], limits: Limits) -> None:
    """Refuse an archive whose pictures can't be read, or not without harm.

    Raises:
        ArchiveError
    """
    if pictures and all(picture.info.flag_bits & _ENCRYPTED for picture in pictures):
        raise ArchiveError("The archive is encrypted; send it without a password.")
    read = [picture.info for picture in pictures if picture.info.file_size <= limits.file_bytes]
    total = sum(info.file_size for info in read)
    if total > limits.total_bytes:
        raise ArchiveError(
            f"The archive would come to {total >> 20:,} MiB; at most {limits.total_bytes >> 20:,} MiB are taken."
        )
    for info, following in pairwise(sorted(read, key=lambda info: info.header_offset)):
        if info.header_offset + _HEADER_BYTES + info.compress_size > following.header_offset:
            raise ArchiveError(
                f"The archive's {path_of(info)[:100]!r} and {path_of(following)[:100]!r} share their bytes, as in no "
                "archive that an ordinary program makes."
            )


def _method(info: zipfile.ZipInfo) -> str:
    """Why a picture can't be unpacked of which zipfile says that it does not know how."""
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "can't be unpacked"
    name = _METHODS.get(info.compress_type, f"method {info.compress_type}")
    return f"is compressed with {name}, which can't be unpacked here; make the zip with the usual method, Deflate"


def in_order(pictures: Iterable[ArchivedPicture]) -> list[ArchivedPicture]:
    """In the order of the archive, in which it reads fastest."""
    return sorted(pictures, key=lambda picture: picture.info.header_offset)
