"""The runs in DATA_DIR/runs/. Their folders are the truth: the list outlives the queue. Loads no torch."""

import contextlib
import fcntl
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

_ID = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)


class RunStore:
    """The runs of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "runs"

    def create(self, options: Options, status: RunStatus) -> str:
        """Make a run's folder, which appears with its options and status in it; its id."""
        run_id = uuid4().hex[:12]
        part = self.root / f".{run_id}"
        part.mkdir(parents=True)
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
        """Let one change of a run be made at a time, whichever process of the API makes it.

        Raises:
            UnknownRun: there is none of this id.
        """
        path = self.folder(run_id).path
        try:
            with (path / CHANGE_LOCK).open("wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self.folder(run_id)  # it may have been removed while one waited
                yield
        except FileNotFoundError as error:
            if path.is_dir():
                raise
            raise UnknownRun(run_id) from error

    def folder(self, run_id: str) -> RunFolder:
        """The run's folder.

        Raises:
            UnknownRun: there is none.
        """
        path = self.root / run_id
        if not _ID.fullmatch(run_id) or not (path / "options.json").is_file():
            raise UnknownRun(run_id)
        return RunFolder(path)

    def ids(self) -> list[str]:
        """All runs', newest first."""
        if not self.root.is_dir():
            return []
        begun = {}
        for path in self.root.glob("*/options.json"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                if _ID.fullmatch(path.parent.name):
                    begun[path.parent.name] = path.stat().st_mtime_ns  # options are written once
        return sorted(begun, key=lambda run_id: begun[run_id], reverse=True)

    def statuses(self) -> Iterator[tuple[str, RunStatus]]:
        """Every run with what its folder says; not those whose folder cannot be read, or says nothing yet."""
        for run_id in self.ids():
            try:
                status = read_status(self.root / run_id)
            except RunFolderError as error:
                log.warning("run %s is passed over: %s", run_id, error)
                continue
            if status is not None:
                yield run_id, status

    def remove(self, run_id: str) -> None:
        """Take a run away with all that it left behind; it vanishes at once, whole."""
        files.remove(self.folder(run_id).path)

    def sweep(self) -> None:
        """Remove what was left of runs when a process was killed that made or removed them."""
        files.sweep(self.root, also=f".{'[0-9a-f]' * 12}")
