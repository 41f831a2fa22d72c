"""From an uploaded archive to a data set: every picture decoded once, checked and counted; whole or not at all.

``python -m models.store.importing`` does it in a process of its own.
"""

import hashlib
import io
import os
import re
import resource
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel

from models.errors import ArchiveError, DatasetError, DatasetExists
from models.store.archives import Archive, Limits, Member, in_order
from models.store.datasets import (
    INFO_FILE,
    LEAST_PICTURES,
    PREVIEW_FILE,
    DatasetInfo,
    DatasetStore,
    DomainInfo,
    Layout,
    Rejected,
    contact_sheet,
)

LEAST_SIDE_PX = 16
MEMORY_BYTES = 4 << 30  # of the process of an import, whatever an archive holds
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # others have readers that strangers should not reach
SAY_EVERY_S = 0.2
KEPT_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
ALMOST = 0.999  # of the work, when all pictures are taken
MAX_LISTED = 1000  # rejected files and groups of duplicates that are listed; the rest is only counted

_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass
class _Findings:
    """What was seen so far."""

    numbered: dict[Path, int] = field(default_factory=dict)  # place → how many files were to be there
    by_pixels: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[Rejected] = field(default_factory=list)  # pictures
    others: list[Rejected] = field(default_factory=list)  # what is no picture, or has no place
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: dict[str, DomainInfo] = field(default_factory=dict)
    nbytes: int = 0


def import_archive(
    archive_file: Path,
    store: DatasetStore,
    name: str,
    workplace: Path,
    *,
    limits: Limits,
    max_pixels: int,
    on_progress: Callable[[float], None],
    wanted: Callable[[], bool] = lambda: True,
) -> DatasetInfo | None:
    """Make the archive the data set ``name``, which appears at once when everything is in place.

    Args:
        workplace: a folder of its own, on the store's file system, that the caller removes afterwards.
        on_progress: told of the share done, 0 to 1, at each picture.
        wanted: asked once, when nothing is left but to let it appear.

    Returns:
        What was made; None if it was not wanted any more.

    Raises:
        ArchiveError, DatasetError: it is refused.
        DatasetExists: another one of this name was there first.
    """
    archive = Archive(archive_file, limits)
    root = workplace / name
    root.mkdir(parents=True)
    findings = _Findings()
    findings.others += [Rejected(file=other, why="has no place in the layout") for other in sorted(archive.others)]
    try:
        for done, member in enumerate(in_order(archive.members)):
            on_progress(done / len(archive.members))
            _take(archive, member, root, findings, max_pixels)
    finally:
        archive.close()
    for domain in sorted({member.domain for member in archive.members}):
        count = findings.counts.get(domain, DomainInfo(train=0))
        if count.train < LEAST_PICTURES:
            why = "".join(f" Left out first: {bad.file} {bad.why}." for bad in findings.rejected[:1])
            raise DatasetError(
                f"The domain {domain!r} has {count.train} usable pictures to train with; at least {LEAST_PICTURES} are "
                f"needed.{why}"
            )
    info = _summary(name, archive.layout, findings)
    (root / INFO_FILE).write_text(info.model_dump_json(indent=1))
    (root / PREVIEW_FILE).write_bytes(contact_sheet(root, on_picture=lambda: on_progress(ALMOST)))
    if not wanted():
        return None
    target = store.path(name)
    try:
        os.rename(root, target)  # onto a folder that is there it fails, unless that is empty
    except OSError as error:
        if target.exists():
            raise DatasetExists(name) from error
        raise
    return info


def _take(archive: Archive, member: Member, root: Path, findings: _Findings, max_pixels: int) -> None:
    """Check a picture and lay it in its place, or note why not."""
    try:
        data = archive.read(member)
        suffix, data, size, digest = _checked(data, max_pixels)
    except (ArchiveError, ValueError) as error:
        findings.rejected.append(Rejected(file=member.info.filename, why=str(error)))
        return
    folder = root / _folder(archive.layout, member)
    folder.mkdir(parents=True, exist_ok=True)
    stem = _UNSAFE.sub("_", Path(member.name).stem).strip("._")[:100] or "picture"
    place = folder / f"{stem}{suffix}"
    number = findings.numbered[place] = findings.numbered.get(place, 0) + 1
    target = place if number == 1 else folder / f"{stem}-{number}{suffix}"
    while target.exists():  # a file that has such a name of its own
        number = findings.numbered[place] = number + 1
        target = folder / f"{stem}-{number}{suffix}"
    target.write_bytes(data)
    count = findings.counts.setdefault(member.domain, DomainInfo(train=0))
    if member.part == "train":
        count.train += 1
    else:
        count.held_out += 1
    findings.by_pixels[digest].append(member.info.filename)
    findings.sizes.append(size)
    findings.nbytes += len(data)
    if findings.nbytes > archive.limits.total_bytes:  # pictures that are kept as PNG may grow
        raise ArchiveError(f"The pictures come to more than {archive.limits.total_bytes >> 20:,} MiB.")


def _folder(layout: Layout, member: Member) -> str:
    if layout == "unpaired":
        return f"{'train' if member.part == 'train' else 'test'}{member.domain}"
    return f"{'train' if member.part == 'train' else 'val'}/{member.domain}"


def _checked(data: bytes, max_pixels: int) -> tuple[str, bytes, tuple[int, int], str]:
    """Suffix, bytes to keep, size and the pixels' digest of a picture.

    A trainer reads files as they are: what has an orientation, or is not plain RGB, is kept as a PNG of what it shows.

    Raises:
        ValueError: it is no picture that can be trained with; the message says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ValueError(f"has {width * height:,} pixels; at most {max_pixels:,} are taken")
                if min(width, height) < LEAST_SIDE_PX:
                    raise ValueError(f"is {width} × {height} px; a side needs {LEAST_SIDE_PX} at least")
                shown = ImageOps.exif_transpose(image)
                plain = shown.size == image.size and image.mode == "RGB" and image.format in KEPT_AS_THEY_ARE
                image_format = str(image.format)
                plain = plain and image.getexif().get(0x0112, 1) == 1
                if shown.mode.startswith("I"):  # 16 bits of grey, of which RGB has the upper 8
                    shown = Image.fromarray((np.asarray(shown).astype(np.uint32) >> 8).astype(np.uint8))
                rgb = shown.convert("RGB")
    except ValueError as error:
        if str(error).startswith(("has ", "is ")):
            raise
        raise ValueError(f"is no picture that can be read: {error}") from error
    except UnidentifiedImageError as error:
        raise ValueError("is no picture in a format that is understood") from error
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders raise
        raise ValueError(f"is no picture that can be read: {error}") from error
    digest = hashlib.sha256(f"{rgb.size}".encode() + rgb.tobytes()).hexdigest()
    if plain:
        return KEPT_AS_THEY_ARE[image_format], data, rgb.size, digest
    file = io.BytesIO()
    rgb.save(file, "PNG")
    return ".png", file.getvalue(), rgb.size, digest


def _summary(name: str, layout: Layout, findings: _Findings) -> DatasetInfo:
    by_area = sorted(findings.sizes, key=lambda size: size[0] * size[1])
    duplicates = [files for files in findings.by_pixels.values() if len(files) > 1]
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
    )


class Order(BaseModel):
    """What the process of an import is told, as JSON in its standard input."""

    archive: Path
    data_dir: Path
    name: str
    workplace: Path
    limits: Limits
    max_pixels: int


class Line(BaseModel):
    """What it says, a JSON document a line: how far it is, or why it gave up. The last progress is 1."""

    progress: float | None = None
    ready: bool = False  # all is in place; it waits for a line in its standard input before the data set appears
    refused: str | None = None
    taken: bool = False  # the name is
    failed: str | None = None  # through no fault of the archive


def _wanted() -> bool:
    print(Line(ready=True).model_dump_json(), flush=True)
    return bool(sys.stdin.readline())


def main() -> None:
    """Import what standard input orders. A process of its own: a hostile picture costs nobody else anything."""
    order = Order.model_validate_json(sys.stdin.readline())
    if sys.platform == "linux":  # others cannot set it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    said_at = 0.0

    def say(share: float) -> None:
        nonlocal said_at
        if time.monotonic() - said_at > SAY_EVERY_S or share == 1:
            said_at = time.monotonic()
            print(Line(progress=share).model_dump_json(), flush=True)

    try:
        import_archive(
            order.archive,
            DatasetStore(order.data_dir),
            order.name,
            order.workplace,
            limits=order.limits,
            max_pixels=order.max_pixels,
            on_progress=say,
            wanted=_wanted,
        )
    except (ArchiveError, DatasetError) as error:
        print(Line(refused=str(error)).model_dump_json(), flush=True)
    except OSError as error:
        print(Line(failed=f"The data set could not be stored: {error.strerror}.").model_dump_json(), flush=True)
    except DatasetExists as error:
        print(Line(refused=str(error), taken=True).model_dump_json(), flush=True)
    else:
        say(1)


if __name__ == "__main__":
    main()
