"""The runs in DATA_DIR/runs/. Their folders are the truth, so the list survives the loss of Redis. Loads no torch."""

import contextlib
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from models.errors import RunFolderError, UnknownRun
from models.store import files
from models.store.options import Options
from models.store.run_folder import RunFolder
from models.store.run_status import RunStatus, read_status, write_status

CHANGE_LOCK = "change.lock"

log = logging.getLogger("doppel.training")

ID_LENGTH = 12  # hex digits of a new run's id

_ID = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)


def run_id_of(request_id: str) -> str:
    """The id of the run that a request makes: the beginning of the request's own id, which is in hex digits."""
    return request_id[:ID_LENGTH]


class RunStore:
    """The runs of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "runs"

    def create(self, options: Options, status: RunStatus, run_id: str | None = None) -> str:
        """Make a run's folder and return its id. The folder appears with its options and status in it.

        Args:
            run_id: of :func:`run_id_of`; None draws one.
        """
        run_id = run_id or run_id_of(uuid4().hex)
        part = self.root / f".{run_id}"
        part.mkdir(parents=True, exist_ok=True)  # an API process may have died here
        try:
            (part / "options.json").write_text(options.model_dump_json(indent=1))
            write_status(part, status)
            part.rename(self.root / run_id)
        except Exception:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return run_id

    @contextlib.contextmanager
    def changing(self, run_id: str) -> Iterator[None]:
        """Hold the lock under which a run's state is changed, so that processes do so one at a time.

        Raises:
            UnknownRun: there is no run with this id.
        """
        path = self.folder(run_id).path
        try:
            with files.locked(path / CHANGE_LOCK):
                self.folder(run_id)  # it may have been removed during the wait
                yield
        except FileNotFoundError as error:
            if path.is_dir():
                raise
            raise UnknownRun(run_id) from error

    def folder(self, run_id: str) -> RunFolder:
        """The run's folder.

        Raises:
            UnknownRun: there is no run with this id.
        """
        path = self.root / run_id
        if not _ID.fullmatch(run_id) or not (path / "options.json").is_file():
            raise UnknownRun(run_id)
        return RunFolder(path)

    def ids(self) -> list[str]:
        """Ids of all runs, newest first."""
        if not self.root.is_dir():
            return []
        created_ns = {}
        for path in self.root.glob("*/options.json"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                if _ID.fullmatch(path.parent.name):
                    created_ns[path.parent.name] = path.stat().st_mtime_ns  # options are written once
        return sorted(created_ns, key=lambda run_id: created_ns[run_id], reverse=True)

    def statuses(self) -> Iterator[tuple[str, RunStatus]]:
        """Every run with the status in its folder; skips folders that have none or are damaged."""
        for run_id in self.ids():
            try:
                status = read_status(self.root / run_id)
            except RunFolderError as error:
                log.warning("run %s is skipped: %s", run_id, error)
                continue
            if status is not None:
                yield run_id, status

    def remove(self, run_id: str) -> None:
        """Remove a run with all its files; it vanishes at once, whole."""
        files.remove(self.folder(run_id).path)

    def sweep(self) -> None:
        """Remove what a process left behind that was killed while it created or removed a run."""
        files.sweep(self.root, also=f".{'[0-9a-f]' * ID_LENGTH}")
