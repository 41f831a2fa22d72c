"""Download, check, convert and pin upstream weights. ``python -m models.weights.fetch NAME... [--help]``.

Upstream publishes no hashes, so a file is trusted on first use: its sha256 is pinned next to the converted weights, and
a later download that differs is refused.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import httpx
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field
from tqdm import tqdm

from models.command_line import Arguments, Positional
from models.errors import CheckpointError, DoppelError, FetchError, NotInstalled
from models.installed import require_torch
from models.store.catalog import FAILURE_FILE, LOCK_FILE, WEIGHTS_FILE, Catalog, read_lock
from models.store.files import is_full, replace_text, sha256
from models.store.model_card import ModelCard, ModelFile

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 16
LOCK_POLL_S = 0.2


def fetch(
    card: ModelCard,
    folder: Path,
    *,
    mirror: str | None = None,
    report: Callable[[float], None] | None = None,
    downloaded: Callable[[], None] | None = None,
) -> Path:
    """Fetch a model's upstream weights into ``folder`` as safetensors, with a progress bar on stderr.

    An interrupted download continues where it stopped. If another process fetches the model, this one waits for it,
    and then uses what that one made.

    Args:
        mirror: base address to use instead of the card's; the file name is appended.
        report: told the share that is downloaded, 0 to 1, again and again, also while this process waits; what it
            raises ends the fetch.
        downloaded: called once all is downloaded, before it is converted; what it raises ends the fetch.

    Returns:
        The converted weights file.

    Raises:
        FetchError: no network, no such file, or its hash differs from the pinned one.
        CheckpointError: the download is not this model's weights.
        NotInstalled: torch, which reads upstream's files, is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(card, folder, report):
        target = folder / WEIGHTS_FILE
        try:
            if not _intact(target, folder):
                _fetch_locked(card, folder, target, mirror, report, downloaded)
        except OSError as error:
            if is_full(error):
                why = f"The server's disk is full ({error.strerror})"
                raise FetchError(f"{why}. Its operator must free some space first.") from error
            raise FetchError(f"{folder} cannot be written: {error}") from error
        except (FetchError, CheckpointError, NotInstalled) as error:
            record = {"failed_at": time.time(), "why": str(error).rstrip(".")}
            with contextlib.suppress(OSError):  # that it failed matters more than that the catalog says so
                _write_json(folder / FAILURE_FILE, record)
            raise
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        return target


@contextlib.contextmanager
def _locked(card: ModelCard, folder: Path, report: Callable[[float], None] | None) -> Iterator[None]:
    """Let only one process fetch a model at a time."""
    lock = FileLock(folder / ".fetch.lock")
    said = False
    while True:
        try:
            lock.acquire(timeout=LOCK_POLL_S)
            break
        except Timeout:
            if not said:
                print(f"{card.name} is being fetched by another process, which is waited for", file=sys.stderr)
            said = True
            if report is not None:
                report(0.0)
    try:
        yield
    finally:
        lock.release()


def _fetch_locked(
    card: ModelCard,
    folder: Path,
    target: Path,
    mirror: str | None,
    report: Callable[[float], None] | None,
    downloaded: Callable[[], None] | None,
) -> None:
    upstream = [file for file in card.files if file.url is not None]
    if not upstream:
        raise FetchError(f"{card.name} has no upstream file to fetch")
    require_torch("Reading the files that upstream publishes")
    from models.weights import doctor  # with torch, which a worker that starts this may not have
    from models.weights.conversion import convert

    lock = read_lock(folder)
    digests = {}
    for number, file in enumerate(upstream):
        part = _part(folder, file)

        def report_file(share: float, before: int = number) -> None:
            if report is not None:
                report((before + share) / len(upstream))

        _download(file, part, mirror, report_file)
        digests[file.name] = sha256(part)
        _check_pin(file, digests[file.name], lock, part)
    if downloaded is not None:
        downloaded()
    complete = [folder / file.name for file in upstream]
    for file, path in zip(upstream, complete, strict=True):
        _part(folder, file).replace(path)  # so that errors name the file as upstream does
    try:
        for n, file in enumerate(upstream):
            if file.member is not None:
                complete[n] = _unpacked(complete[n], file.member)
        converted = convert(card, complete)
    finally:
        for path in complete:
            path.unlink(missing_ok=True)
    new = folder / f"new-{WEIGHTS_FILE}"
    doctor.save(converted.state, new)
    _write_json(folder / LOCK_FILE, {**lock, **digests, WEIGHTS_FILE: sha256(new)})
    new.replace(target)  # last, so that weights are never here without their hash
    for note in converted.notes:
        print(f"{card.name}: {note}", file=sys.stderr)


def _unpacked(archive: Path, ending: str) -> Path:
    """Replace a tar archive by the one file in it whose path ends so.

    Raises:
        CheckpointError: it is not an archive, or not one file in it is called so.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            found = [member for member in tar if member.isfile() and f"/{member.name}".endswith(f"/{ending}")]
            content = tar.extractfile(found[0]) if len(found) == 1 else None
            if content is None:
                raise CheckpointError(f"{archive.name} holds {len(found)} files {ending}; one is needed")
            path = archive.with_name(Path(ending).name)
            with path.open("wb") as out:
                shutil.copyfileobj(content, out)
    except tarfile.TarError as error:
        raise CheckpointError(f"{archive.name} is not a tar archive, or it is damaged: {error}") from error
    finally:
        archive.unlink()
    return path


def _part(folder: Path, file: ModelFile) -> Path:
    return folder / f"{file.name}.part"


def _check_pin(file: ModelFile, digest: str, lock: dict[str, str], part: Path) -> None:
    pinned = lock.get(file.name, file.sha256)
    if pinned is not None and digest != pinned:
        part.unlink()
        raise FetchError(
            f"{file.name} has sha256 {digest}, but {pinned} was pinned when it was first fetched: it changed upstream "
            f"or in transit. To accept the new file, remove {part.parent / LOCK_FILE}"
        )


def _intact(target: Path, folder: Path) -> bool:
    return target.is_file() and sha256(target) == read_lock(folder).get(WEIGHTS_FILE)


def _download(file: ModelFile, part: Path, mirror: str | None, report: Callable[[float], None]) -> None:
    url = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
    assert url is not None
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # it is complete already; the checks that follow verify it
            response.raise_for_status()
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            length = response.headers.get("Content-Length")
            total = int(length) + (have if resumed else 0) if length else None
            with (
                part.open("ab" if resumed else "wb") as out,
                tqdm(total=total, initial=have if resumed else 0, unit="B", unit_scale=True, desc=file.name) as bar,
            ):
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    out.write(chunk)
                    bar.update(len(chunk))
                    if total:
                        report(min(1.0, bar.n / total))
    except httpx.HTTPStatusError as error:
        raise FetchError(f"{url} answered {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(f"{url} cannot be reached ({error or type(error).__name__})") from error


def _write_json(path: Path, content: dict[str, object]) -> None:
    replace_text(path, json.dumps(content, indent=2) + "\n")


class CommandLine(BaseModel):
    """The arguments of ``python -m models.weights.fetch``."""

    names: Annotated[list[str], Positional("NAME")]
    weights_dir: Path = Path("weights")
    data_dir: Path = Path("var")
    mirror: Annotated[str | None, Field(description="base address to fetch from instead of upstream's")] = None


def main(arguments: list[str] | None = None) -> int:
    """Run this program; its exit status. ``arguments`` None: those of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.weights.fetch", description="Fetch models' upstream weights."
    )
    given = Arguments(parser, CommandLine).read(arguments)
    catalog = Catalog(given.weights_dir, given.data_dir)
    failed = False
    for name in given.names:
        try:
            model = catalog.get(name)
            if any(file.url for file in model.card.files):
                fetch(model.card, catalog.models_dir / name, mirror=given.mirror)
            print(f"{name}: ready")
        except DoppelError as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
