"""Training runs as clients see them, by their folders and the training queue."""

import contextlib
import logging
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from app.addresses import address
from app.callers import Caller
from app.forecast import HIDDEN_OPTIONS
from app.training_schemas import ChangedOptions, TrainingRun
from models.errors import RunFolderError, UnknownRun
from models.store.run_changes import read_changes
from models.store.run_folder import RunFolder
from models.store.run_life import life
from models.store.run_lock import is_locked, wait_until_unlocked
from models.store.run_status import RunState, RunStatus, now, read_status
from models.store.runs import RunStore
from worker.contract import Failure, FailureCode
from worker.training_queue import TrainerReport, TrainingQueue

log = logging.getLogger("doppel.app")

TRAINER_SEEN_S = 30
# Raised for a run that was removed meanwhile, is damaged, or was written by another version.
UNREADABLE = (UnknownRun, RunFolderError, ValidationError, FileNotFoundError)


class RunViews:
    """Finds runs and shows them."""

    def __init__(self, store: RunStore, queue: TrainingQueue) -> None:
        self.store = store
        self._queue = queue

    def can_be_removed(self, run_id: str) -> bool:
        """Whether a run has ended, or is damaged and nobody trains in its folder.

        Raises:
            UnknownRun: there is no run with this id.
        """
        try:
            return self._has_ended(run_id)
        except RunFolderError:
            return wait_until_unlocked(self.store.folder(run_id).path)

    def is_seen(self, run_id: str, caller: Caller) -> bool:
        """Whether there is a run of this id that the caller may see. One that is damaged is the operator's."""
        try:
            status = read_status(self.store.folder(run_id).path)
        except UnknownRun:
            return False
        except RunFolderError:
            status = None
        return caller.sees(status.owner if status is not None else None)

    def seen(self, run_ids: Iterable[str], caller: Caller) -> list[str]:
        """Those of these runs that the caller may see."""
        return [run_id for run_id in run_ids if caller.is_admin or self.is_seen(run_id, caller)]

    def _has_ended(self, run_id: str) -> bool:
        """Whether a run has ended and nobody trains in its folder. Waits for a process that is about to end."""
        return self.status(run_id).status.ended and wait_until_unlocked(self.store.folder(run_id).path)

    def status(self, run_id: str) -> RunStatus:
        """The status of a run, by its folder and the queue (docs/run-life.md).

        Raises:
            UnknownRun: there is no run with this id.
        """
        folder = self.store.folder(run_id)
        first = _read_status(folder)
        if first.status.ended or is_locked(folder.path):
            return first
        turn = self._queue.turn(run_id, first.attempts)
        # Read again, since the run may have ended in between.
        written = _read_status(folder)
        if written.attempts != first.attempts:
            return written  # resumed in between
        return life(
            written,
            lock_held=is_locked(folder.path),
            turn=turn,
            stop_requested=folder.stop_requested,
            age_s=(now() - written.updated_at).total_seconds(),
        )

    def unfinished(self) -> dict[str, list[str]]:
        """Data set → its runs that have not ended."""
        found: dict[str, list[str]] = {}
        for run_id, status in self._unfinished():
            found.setdefault(status.dataset, []).append(run_id)
        return found

    def live(self) -> dict[str, RunState]:
        """The runs that have not ended, by id, and whether they wait or run."""
        return {run_id: status.status for run_id, status in self._unfinished()}

    def trainers(self) -> list[TrainerReport]:
        """The trainers that have reported lately."""
        return self._queue.trainers(seen_within_s=TRAINER_SEEN_S)

    def begun_from(self, model: str) -> list[str]:
        """Runs that start from this model and have not ended."""
        return [run_id for run_id, status in self._unfinished() if status.init_from == model]

    def _unfinished(self) -> Iterator[tuple[str, RunStatus]]:
        for run_id, written in self.store.statuses():
            if not written.status.ended:
                with contextlib.suppress(UnknownRun):  # removed meanwhile
                    status = self.status(run_id)
                    if not status.status.ended:
                        yield run_id, status

    def using(self, dataset: str) -> list[str]:
        """Runs on this data set that have not ended."""
        return self.unfinished().get(dataset, [])

    def newest(
        self, caller: Caller, *, limit: int | None = None, before: str | None = None
    ) -> tuple[list[TrainingRun], str | None]:
        """A page of the runs that the caller sees, newest first, without those that can't be read.

        Args:
            limit: most runs on the page; None: all.
            before: the id of a run; only those that are older.

        Returns:
            The runs; and the id of the last run that was looked at if there are older ones, else None.

        Raises:
            UnknownRun: there is no run ``before``.
        """
        ids = self.seen(self.store.ids(), caller)
        if before is not None:
            if before not in ids:
                raise UnknownRun(before)
            ids = ids[ids.index(before) + 1 :]
        page = ids[:limit]
        runs = []
        for run_id in page:
            try:
                runs.append(self.view(run_id))
            except UNREADABLE as error:
                log.warning("run %s is left out of the list: %s", run_id, error)
        return runs, page[-1] if len(page) < len(ids) else None

    def view(self, run_id: str) -> TrainingRun:
        """A run as a client sees it.

        Raises:
            UnknownRun: there is no run with this id.
        """
        folder = self.store.folder(run_id)
        status = self.status(run_id)
        options = folder.options()
        base = address(f"/training/{run_id}")
        links = {"self": base} | {
            name: f"{base}/{name}" for name in ("metrics", "curves.png", "samples", "log", "events")
        }
        return TrainingRun(
            **status.model_dump(
                exclude={"updated_at", "dataset_fingerprint", "init_from", "error", "family", "status"}
            ),
            id=run_id,
            family=options.family,
            status=status.status,
            position=self._queue.position(run_id, status.attempts) if status.status is RunState.QUEUED else None,
            stopping=folder.stop_requested and not status.status.ended,
            progress=min(1.0, status.step / status.total_steps) if status.total_steps else 0.0,
            checkpoints=[int(path.stem) for path in folder.checkpoints()],
            samples=folder.samples(),
            options=options.model_dump(mode="json", exclude=HIDDEN_OPTIONS) | {"init_from": status.init_from},
            changes=[
                ChangedOptions(step=change.step, at=change.at, options=shown, why=change.why)
                for change in read_changes(folder.path)
                if (shown := {name: value for name, value in change.options.items() if name not in HIDDEN_OPTIONS})
            ],
            error=Failure(code=FailureCode.TRAINING_FAILED, detail=status.error) if status.error else None,
            links=links,
        )


def _read_status(folder: RunFolder) -> RunStatus:
    """The status in a run's folder. One that nothing was written to is a stopped run."""
    moment = now()
    return read_status(folder.path) or RunStatus(status=RunState.STOPPED, created_at=moment, updated_at=moment)
