"""From an uploaded archive to a data set: every picture is decoded once, checked and counted; all of it, or nothing."""

import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from models.errors import ArchiveError, DatasetError, DatasetExists, PictureRejected
from models.pictures.decoding import FORMATS, Bounds, EncodedPicture
from models.pictures.png import encode_png
from models.store.archive_layout import ArchivedPicture
from models.store.archives import Archive, Limits, in_order
from models.store.datasets import (
    INFO_FILE,
    LEAST_PICTURES,
    PREVIEW_FILE,
    DatasetInfo,
    DomainInfo,
    Layout,
    PictureNote,
    Rejected,
    contact_sheet,
)
from models.store.disk import Room

LEAST_SIDE_PX = 16
SUFFIX_OF_FORMAT = {"JPEG": ".jpg", "TIFF": ".tif"}  # of the others it is their name
NEARLY_DONE = 0.999  # the progress once all pictures are stored and only the preview is missing
MAX_LISTED = 1000  # rejected files and groups of duplicates that are listed; the rest is only counted

_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass
class _Findings:
    """What is known so far of the archive's pictures."""

    files_named: dict[Path, int] = field(default_factory=dict)  # path → how many pictures would be stored under it
    by_pixels: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # digest → names in the archive
    rejected: list[Rejected] = field(default_factory=list)  # pictures
    others: list[Rejected] = field(default_factory=list)  # files that are not pictures or are outside the layout
    notes: list[PictureNote] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: dict[str, DomainInfo] = field(default_factory=dict)
    nbytes: int = 0


@dataclass(frozen=True)
class _CheckedPicture:
    """A picture as it will be stored."""

    suffix: str
    data: bytes
    size: tuple[int, int]
    digest: str  # of its pixels
    note: str | None  # what the person who sent it should know about how it was read


def import_archive(
    archive_file: Path,
    target: Path,
    workspace: Path,
    *,
    limits: Limits,
    max_pixels: int,
    owner: str | None = None,
    room: Room | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    before_publishing: Callable[[], None] = lambda: None,
) -> DatasetInfo:
    """Make a data set of an archive. It appears at ``target`` by one rename, when everything is in place.

    Args:
        target: the data set's folder, whose name is the data set's.
        workspace: a folder that does not exist yet, on the same file system as ``target``; the caller removes what an
            error leaves of it.
        room: that the pictures have to find; None: the free space of the disk.
        on_progress: called with the share done, 0 to 1, before each picture; it may raise to give up.
        before_publishing: called once, just before the rename; it may raise to give up.

    Raises:
        ArchiveError: the archive is refused as a whole.
        DatasetError: a domain has too few usable pictures.
        DatasetExists: ``target`` exists.
        OSError: it can't be stored.
        StoreFull: there is no room for it.
    """
    room = room or Room(workspace)
    workspace.mkdir(parents=True)
    findings = _Findings()
    archive = Archive(archive_file, limits)
    try:
        findings.others += archive.others
        room.require(sum(picture.info.file_size for picture in archive.pictures))
        for done, picture in enumerate(in_order(archive.pictures)):
            on_progress(done / len(archive.pictures))
            _store(archive, picture, workspace, findings, max_pixels)
    finally:
        archive.close()
    _require_pictures({picture.domain for picture in archive.pictures}, findings)
    info = _summary(target.name, archive.layout, findings, owner)
    (workspace / INFO_FILE).write_text(info.model_dump_json(indent=1))
    preview = contact_sheet(workspace, on_picture=lambda: on_progress(NEARLY_DONE))
    (workspace / PREVIEW_FILE).write_bytes(preview)
    before_publishing()
    try:
        os.rename(workspace, target)  # fails if the target is there, unless that is an empty folder
    except OSError as error:
        if target.exists():
            raise DatasetExists(target.name) from error
        raise
    return info


def _store(archive: Archive, picture: ArchivedPicture, workspace: Path, findings: _Findings, max_pixels: int) -> None:
    """Check a picture and store it, or note why not."""
    try:
        checked = _checked(archive.read(picture), max_pixels)
    except PictureRejected as error:
        findings.rejected.append(Rejected(file=picture.path, why=str(error)))
        return
    folder = workspace / _folder(archive.layout, picture)
    folder.mkdir(parents=True, exist_ok=True)
    _free_path(folder, picture.name, checked.suffix, findings).write_bytes(checked.data)
    count = findings.counts.setdefault(picture.domain, DomainInfo(train=0))
    if picture.part == "train":
        count.train += 1
    else:
        count.held_out += 1
    findings.by_pixels[checked.digest].append(picture.path)
    if checked.note:
        findings.notes.append(PictureNote(file=picture.path, note=checked.note))
    findings.sizes.append(checked.size)
    findings.nbytes += len(checked.data)
    if findings.nbytes > archive.limits.total_bytes:  # pictures that are stored as PNG may grow
        raise ArchiveError(f"The pictures come to more than {archive.limits.total_bytes >> 20:,} MiB.")


def _folder(layout: Layout, picture: ArchivedPicture) -> str:
    if layout == "unpaired":
        return f"{'train' if picture.part == 'train' else 'test'}{picture.domain}"
    return f"{'train' if picture.part == 'train' else 'val'}/{picture.domain}"


def _free_path(folder: Path, name: str, suffix: str, findings: _Findings) -> Path:
    """A path in ``folder`` that no file has, as like ``name`` as is safe."""
    stem = _UNSAFE.sub("_", Path(name).stem).strip("._")[:100] or "picture"
    first = folder / f"{stem}{suffix}"
    number = findings.files_named[first] = findings.files_named.get(first, 0) + 1
    path = first if number == 1 else folder / f"{stem}-{number}{suffix}"
    while path.exists():  # another file has that very name
        number = findings.files_named[first] = number + 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def _checked(data: bytes, max_pixels: int) -> _CheckedPicture:
    """Decode a picture.

    The file is kept as it is where plain decoding gives the RGB that viewers show. Else a PNG of what they show is
    stored, so that every program sees the same picture.

    Raises:
        PictureRejected: it can't be trained with.
    """
    encoded = EncodedPicture(data, Bounds(max_pixels, LEAST_SIDE_PX))
    shown, note = encoded.shown()
    digest = _digest(shown)
    if _digest_when_plainly_decoded(data) == digest:
        suffix = SUFFIX_OF_FORMAT.get(encoded.format, f".{encoded.format.lower()}")
        return _CheckedPicture(suffix, data, shown.size, digest, note)
    return _CheckedPicture(".png", encode_png(np.asarray(shown)), shown.size, digest, note)


def _digest(image: Image.Image) -> str:
    """A digest of a picture's size and pixels."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def _digest_when_plainly_decoded(data: bytes) -> str | None:
    """What programs decode that take no notice of orientation, profile and transparency; None if they refuse it."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _digest(image.convert("RGB"))
    except Exception:  # whatever the metadata that our reader takes no notice of make Pillow raise
        return None


def _require_pictures(domains: set[str], findings: _Findings) -> None:
    for domain in sorted(domains):
        count = findings.counts.get(domain, DomainInfo(train=0))
        if count.train < LEAST_PICTURES:
            why = "".join(f" Left out first: {bad.file} {bad.why}." for bad in findings.rejected[:1])
            raise DatasetError(
                f"The domain {domain!r} has {count.train} usable pictures to train with; at least {LEAST_PICTURES} are "
                f"needed.{why}"
            )


def _summary(name: str, layout: Layout, findings: _Findings, owner: str | None) -> DatasetInfo:
    by_area = sorted(findings.sizes, key=lambda size: size[0] * size[1])
    duplicates = [names for names in findings.by_pixels.values() if len(names) > 1]
    rejected = findings.rejected + findings.others
    return DatasetInfo(
        name=name,
        layout=layout,
        domains=dict(sorted(findings.counts.items())),
        created_at=datetime.now(UTC),
        nbytes=findings.nbytes,
        smallest_px=by_area[0],
        largest_px=by_area[-1],
        duplicates=duplicates[:MAX_LISTED],
        rejected=rejected[:MAX_LISTED],
        rejected_count=len(rejected),
        notes=findings.notes[:MAX_LISTED],
        owner=owner,
    )
