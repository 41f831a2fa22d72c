"""A model as one zip file, to move it to another machine: its card, its weights, its sample picture. Loads no torch."""

import contextlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, BinaryIO

from pydantic import ValidationError

from models.errors import ArchiveError, ModelUnavailable
from models.store.archive_names import leads_outside
from models.store.catalog import CARD_FILE, WEIGHTS_FILE, Model
from models.store.files import replacing, sha256
from models.store.model_card import ModelCard, ModelFile
from models.store.publication import SAMPLE_FILE

MAX_CARD_BYTES = 256 << 10
MAX_SAMPLE_BYTES = 20 << 20
MAX_ENTRIES = 100

_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 0x1
# Members have this time, the earliest that a zip can express, so that one model always gives the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def export_chunks(model: Model) -> Iterator[bytes]:
    """The archive of a model, piece by piece. Nothing is open before the first piece is asked for.

    Raises:
        ModelUnavailable: its weights are not here.
    """
    if model.weights is None:
        raise ModelUnavailable(model.name, model.failure or "not fetched yet")
    weights = model.weights
    file = ModelFile(name=WEIGHTS_FILE, sha256=sha256(weights))
    card = model.card.model_copy(update={"files": [file], "fallback": None, "version": None, "shared": None})
    sample = weights.with_name(SAMPLE_FILE)
    return _chunks(card, [weights, sample] if sample.is_file() else [weights])


def export(model: Model, target: Path) -> None:
    """Write the archive of a model as a file that appears whole.

    Raises:
        ModelUnavailable: its weights are not here.
    """
    with replacing(target) as part, part.open("wb") as file:
        for chunk in export_chunks(model):
            file.write(chunk)


class _Pipe:
    """Collects what a ZipFile writes until it is taken; it can't be sought in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _chunks(card: ModelCard, members: list[Path]) -> Iterator[bytes]:
    pipe = _Pipe()
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(path.open("rb")) for path in members]  # the model may be removed meanwhile
        # Weights don't compress, so nothing is: the archive is as fast as the disk.
        with zipfile.ZipFile(pipe, "w") as archive:  # type: ignore[call-overload]  # read only to append
            archive.writestr(zipfile.ZipInfo(CARD_FILE, _TIME), card.text())
            for path, file in zip(members, files, strict=True):
                with archive.open(zipfile.ZipInfo(path.name, _TIME), "w", force_zip64=True) as member:
                    while data := file.read(_CHUNK_BYTES):
                        member.write(data)
                        yield pipe.take()
        yield pipe.take()


def is_model_archive(file: Path | BinaryIO) -> bool:
    """Whether a file is a zip with a card in it, at its top or one folder deep. An open file is left anywhere in it."""
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(_plain(name) == CARD_FILE for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _plain(name: str) -> str | None:
    """The member's name in a model's folder; None for folders and what systems leave in archives."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not 1 <= len(parts) <= 2 or name.endswith("/") or any(part.startswith((".", "__MACOSX")) for part in parts):
        return None
    return parts[-1]


class ModelArchive:
    """An exported model from a stranger. Nothing is extracted to a path that the archive names.

    Args:
        path: the file.
        max_bytes: of the weights.

    Raises:
        ArchiveError: it is not a zip, is damaged or too large, or holds no model.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ArchiveError(f"{path.name} is not a zip file that can be read: {error}.") from error
        try:
            self._members = self._checked(max_bytes)
            self.card = self._card()
        except ArchiveError:
            self._zip.close()
            raise

    def __enter__(self) -> "ModelArchive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def unpack(self, folder: Path) -> None:
        """Write the weights, and the sample picture if there is one, into ``folder``.

        Raises:
            ArchiveError: the weights are damaged, or are not those that the card names.
        """
        for name in (WEIGHTS_FILE, SAMPLE_FILE):
            if name in self._members:
                with (folder / name).open("wb") as target:
                    self._copy(name, target)
        self._compare(sha256(folder / WEIGHTS_FILE))

    def _checked(self, max_bytes: int | None) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MAX_ENTRIES:
            raise ArchiveError(f"The archive has {len(infos):,} members; an exported model has three.")
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            if leads_outside(info.filename.replace("\\", "/")):
                raise ArchiveError(f"The archive names a path outside itself, {info.filename[:100]!r}.")
            name = _plain(info.filename)
            if name not in (CARD_FILE, WEIGHTS_FILE, SAMPLE_FILE):
                continue
            if name in members:
                raise ArchiveError(f"The archive holds {name} more than once, so it is not one exported model.")
            if info.flag_bits & _ENCRYPTED:
                raise ArchiveError("The archive is encrypted; send it without a password.")
            members[name] = info
        if missing := [name for name in (CARD_FILE, WEIGHTS_FILE) if name not in members]:
            raise ArchiveError(
                f"The archive holds no {' and no '.join(missing)}; an exported model has both, as `doppel export` "
                "writes them."
            )
        limits = {CARD_FILE: MAX_CARD_BYTES, SAMPLE_FILE: MAX_SAMPLE_BYTES, WEIGHTS_FILE: max_bytes}
        for name, info in members.items():
            most = limits[name]
            if most is not None and info.file_size > most:
                raise ArchiveError(f"The archive's {name} has {info.file_size:,} bytes; at most {most:,} are taken.")
        return members

    def _card(self) -> ModelCard:
        try:
            with self._zip.open(self._members[CARD_FILE]) as file:
                return ModelCard.model_validate_json(file.read(MAX_CARD_BYTES + 1))
        except ValidationError as error:
            raise ArchiveError(f"The archive's {CARD_FILE} is not a model card: {_first(error)}.") from error
        except Exception as error:  # zipfile, zlib, lzma and bz2 each raise their own
            raise ArchiveError(f"The archive's {CARD_FILE} can't be read: {error}.") from error

    def _copy(self, name: str, target: IO[bytes]) -> None:
        declared = self._members[name].file_size
        try:
            with self._zip.open(self._members[name]) as file:
                shutil.copyfileobj(file, target, _CHUNK_BYTES)  # a ZipFile gives no more bytes than it declares
        except OSError:
            raise  # the disk is full, for instance
        except Exception as error:
            raise ArchiveError(f"The archive's {name} is damaged: {error}.") from error
        if target.tell() != declared:
            raise ArchiveError(f"The archive's {name} is not as long as the archive says.")

    def _compare(self, digest: str) -> None:
        named = next((file.sha256 for file in self.card.files if file.name == WEIGHTS_FILE), None)
        if named is not None and digest != named:
            raise ArchiveError(
                f"The archive's {WEIGHTS_FILE} has sha256 {digest}, but its card says {named}: it was changed or "
                "damaged on the way."
            )


def _first(error: ValidationError) -> str:
    """The first thing that is wrong with a card, with the field that it is about."""
    item = error.errors()[0]
    where = ".".join(map(str, item["loc"]))
    return f"{where + ': ' if where else ''}{item['msg'].removeprefix('Value error, ')}"
