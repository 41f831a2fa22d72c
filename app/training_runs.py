"""Training runs over HTTP: start, stop, resume, remove and show them, by their folders and the training queue."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from app.addresses import address
from app.callers import Caller
from app.forecast import HIDDEN_OPTIONS
from app.own_datasets import own_dataset
from app.run_requests import AcceptedRun, RunChecker, RunRequest
from app.settings import Settings
from app.training_schemas import ChangedOptions, ResumeRequest, TrainingRun
from app.webhooks import Webhooks
from models.errors import Conflict, DatasetError, Invalid, RunFolderError, Unavailable, UnknownDataset, UnknownRun
from models.store.catalog import Catalog
from models.store.datasets import DatasetStore, fingerprint
from models.store.disk import stored_bytes
from models.store.options import Options, StarGANOptions
from models.store.run_changes import changing_options, read_changes
from models.store.run_choices import LENGTHS
from models.store.run_folder import RunFolder
from models.store.run_life import life
from models.store.run_lock import is_locked, wait_until_unlocked
from models.store.run_pictures import check_pictures
from models.store.run_status import RunState, RunStatus, now, read_status, write_status
from models.store.runs import RunStore
from worker.contract import ESTIMATE_QUEUE, Failure, FailureCode
from worker.errors import QueueError, QueueFull
from worker.preparation_queue import PreparationQueue
from worker.training_queue import TrainerReport, TrainingQueue

log = logging.getLogger("doppel.app")

TRAINING_RETRY_AFTER_S = 600
TRAINER_SEEN_S = 30
# Raised for a run that was removed meanwhile, is damaged, or was written by another version.
UNREADABLE = (UnknownRun, RunFolderError, ValidationError, FileNotFoundError)


class Runs:
    """Starts, finds, stops and resumes runs."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        datasets: DatasetStore,
        queue: TrainingQueue,
        preparation: PreparationQueue,
        webhooks: Webhooks,
    ) -> None:
        self._settings = settings
        self.store = RunStore(settings.data_dir)
        self._checker = RunChecker(catalog, datasets, self.store, preparation)
        self._datasets = datasets
        self._queue = queue
        self._preparation = preparation
        self.webhooks = webhooks

    # changes

    def check(self, requests: Sequence[RunRequest], caller: Caller) -> list[AcceptedRun]:
        """Check a caller's requests for runs; raises as :meth:`RunChecker.check` does.

        Raises:
            Invalid: there is no room for their checkpoints beside those that other runs will write.
        """
        for request in requests:
            self.webhooks.check(request.webhook)
        accepted = self._checker.check(requests, self.trainers(), caller)
        needed_mb, left_mb = sum(run.forecast.disk_mb for run in accepted), self._left_mb()
        if needed_mb > left_mb:
            what = "The run" if len(accepted) == 1 else f"These {len(accepted)} runs"
            raise Invalid(
                f"{what} would keep checkpoints of {needed_mb:,} MB, and there is room for {left_mb:,} MB beside those "
                "of the runs under way. Ask for fewer keep_checkpoints, a larger save_every or narrower networks."
            )
        return accepted

    def _left_mb(self) -> int:
        """Space for checkpoints that no run under way will need."""
        promised = 0
        for run_id, status in self._unfinished():
            written = stored_bytes(self.store.root / run_id)
            promised += max(0, ((status.disk_mb or 0) << 20) - written)
        return max(0, self._settings.room.left() - promised) >> 20

    def start(self, accepted: AcceptedRun, run_id: str | None = None) -> str:
        """Queue a new run and return its id.

        Args:
            run_id: a fresh one; None draws it.

        Raises:
            LimitReached: the caller has as many runs in hand as they may.
            Unavailable: no trainer is alive.
        """
        self.require_trainer()
        self.require_room()
        run_id = self.create(accepted, pictures=self.pictures(accepted.dataset), run_id=run_id)
        try:
            self.take_allowance(accepted.caller, [run_id])
            self.submit(run_id, accepted)
        except QueueError:
            self.store.remove(run_id)
            raise
        return run_id

    def take_allowance(self, caller: Caller, run_ids: Sequence[str], attempt: int = 1) -> None:
        """Count runs that are about to be queued as the caller's.

        Raises:
            LimitReached: so many they may not have in hand.
        """
        if (allowance := caller.run_allowance) is not None:
            self._queue.take_allowance(allowance, run_ids, attempt)

    def submit(self, run_id: str, accepted: AcceptedRun) -> None:
        """Queue the first attempt at a new run."""
        self.webhooks.order(self.webhooks.hook(accepted.webhook, "run", run_id, owner=accepted.caller.name))
        self._queue.submit(run_id, 1)

    def pictures(self, dataset: str) -> str:
        """The fingerprint of a data set's pictures, all of which are read.

        Raises:
            UnknownDataset: it was removed.
        """
        try:
            return fingerprint(self._datasets.path(dataset))
        except FileNotFoundError:
            raise UnknownDataset(dataset, self._datasets.names()) from None

    def create(
        self, accepted: AcceptedRun, *, pictures: str, comparison: str | None = None, run_id: str | None = None
    ) -> str:
        """Make a new run's folder and return its id.

        Raises:
            UnknownDataset: the data set was removed meanwhile.
        """
        moment = now()
        status = RunStatus(
            dataset=accepted.dataset,
            dataset_fingerprint=pictures,
            family=accepted.options.family,
            init_from=accepted.init_from,
            comparison=comparison,
            owner=accepted.caller.name,
            created_at=moment,
            updated_at=moment,
            total_steps=accepted.forecast.total_steps,
            gflop_per_step=accepted.forecast.gflop_per_step,
            disk_mb=accepted.forecast.disk_mb,
            attempts=1,
        )
        run_id = self.store.create(accepted.options, status, run_id)
        if not self._datasets.path(accepted.dataset).is_dir():  # removed since the request was checked
            self.store.remove(run_id)
            raise UnknownDataset(accepted.dataset, self._datasets.names())
        return run_id

    def require_room(self, runs: int = 1) -> None:
        """Refuse runs that there is no room for.

        Raises:
            QueueFull: too many wait already.
            OSError: the disk is full.
            StoreFull: data sets, runs and models take all that they may.
        """
        self._settings.room.require()
        waiting, limit = self._queue.waiting(), self._settings.training_queue_limit
        if waiting + runs > limit:
            raise QueueFull(
                f"{waiting} training runs are waiting already; no more than {limit} may. Stop some, or wait.",
                retry_after_s=TRAINING_RETRY_AFTER_S,
            )

    def require_trainer(self) -> None:
        """Refuse a run that nobody would train.

        Raises:
            Unavailable: no trainer has reported within ``TRAINER_SEEN_S``.
            NotInstalled: nor has a preparer with torch, so this is an installation without it.
        """
        if not self.trainers():
            if self._preparation.preparers(seen_within_s=TRAINER_SEEN_S):
                self._preparation.require_preparer(ESTIMATE_QUEUE, torch_for="Training")
            raise Unavailable(
                f"No trainer has been seen for {TRAINER_SEEN_S} s. The operator starts one with: doppel trainer"
            )

    def stop(self, run_id: str, *, force: bool) -> None:
        """Stop a run. A queued run never starts; a running one saves a checkpoint at the end of its step.

        Args:
            force: kill its process instead; what came after the last checkpoint is lost.

        Raises:
            UnknownRun: there is no run with this id.
            Conflict: it has ended.
        """
        with self.store.changing(run_id):
            folder = self.store.folder(run_id)
            status = self.status(run_id)
            if status.status.ended:
                raise Conflict(f"The run has already {status.status}.")
            folder.request_stop()
            # A run that trains may be in the queue as well, if its trainer could not reach Redis for a while.
            if not is_locked(folder.path) and self._queue.withdraw(run_id, status.attempts):
                status.status, status.finished_at = RunState.STOPPED, now()
                write_status(folder.path, status)
            elif force:
                self._queue.kill(run_id, status.attempts)

    def resume(self, run_id: str, request: ResumeRequest, caller: Caller) -> None:
        """Queue a run that has ended again. It resumes exactly from its last checkpoint.

        Its data set is found by its name and known by its pictures, so that both may have come from another machine.

        Args:
            request: what is to change; a run that has succeeded needs a new length.

        Raises:
            UnknownRun: there is no run with this id.
            Invalid: what is to change can't.
            Conflict: it is running or queued, is complete, or its data set is gone or has other pictures.
            LimitReached: the caller has as many runs in hand as they may.
            Unavailable: no trainer is alive.
        """
        with self.store.changing(run_id):
            self._resume(run_id, request, caller)

    def _resume(self, run_id: str, request: ResumeRequest, caller: Caller) -> None:
        self.webhooks.check(request.webhook)
        folder = self.store.folder(run_id)
        if not self._has_ended(run_id):
            raise Conflict(f"The run is {self.status(run_id).status}; there is nothing to resume.")
        status = self.status(run_id)
        name = request.dataset or status.dataset
        try:
            info = own_dataset(self._datasets, name, caller)
            check_pictures(folder.path, status.dataset_fingerprint, self._datasets.path(name))
        except UnknownDataset:
            raise Conflict(
                f"The data set {name[:80]!r} that the run was trained on is not here. If it has another name now, send "
                "that as dataset."
            ) from None
        except DatasetError as error:
            raise Conflict(str(error)) from None
        checkpoints = folder.checkpoints()
        reached = int(checkpoints[-1].stem) if checkpoints else 0
        before = folder.options()
        options = self._checker.resumed(before, request.options, info, reached=reached)
        if status.status is RunState.SUCCEEDED and LENGTHS.isdisjoint(request.options) and options.minutes is None:
            length = "total_iters" if options.family == "stargan_v2" else "epochs or epochs_decay"
            raise Conflict(f"The run is complete. To train it further, send more {length}, or minutes.")
        start = options.init_from
        if start is not None and not start.exists() and not checkpoints:
            raise Conflict(f"The model {status.init_from!r} that the run was to start from is gone.")
        self.require_trainer()
        self.require_room()
        self.take_allowance(caller, [run_id], status.attempts + 1)
        status.status = RunState.QUEUED
        status.error = None
        status.finished_at = None
        status.attempts += 1
        status.dataset = name
        status.total_steps = self._checker.steps(options, info) or status.total_steps
        moved = {place: str(path) for place, path in _places(options).items() if path != _places(before)[place]}
        with changing_options(folder.path, reached, request.options | moved):
            write_status(folder.path, status)
        folder.forget_stop()
        self.webhooks.order(self.webhooks.hook(request.webhook, "run", run_id, turn=status.attempts, owner=caller.name))
        self._queue.submit(run_id, status.attempts)

    def remove(self, run_id: str) -> None:
        """Remove a run that has ended, with all its files. Published models stay.

        Raises:
            UnknownRun: there is no run with this id.
            Conflict: it has not ended.
        """
        with self.store.changing(run_id):
            if not self.can_be_removed(run_id):
                raise Conflict(f"The run is {self.status(run_id).status}; stop it first.")
            self.store.remove(run_id)

    # views

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
        ids = [run_id for run_id in self.store.ids() if caller.is_admin or self.is_seen(run_id, caller)]
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


def _places(options: Options) -> dict[str, Path]:
    """Where a run's inputs are that it reads whenever it is resumed."""
    places = {"dataset": options.dataset}
    if isinstance(options, StarGANOptions) and options.landmarks is not None:
        places["landmarks"] = options.landmarks
    return places


def _read_status(folder: RunFolder) -> RunStatus:
    """The status in a run's folder. One that nothing was written to is a stopped run."""
    moment = now()
    return read_status(folder.path) or RunStatus(status=RunState.STOPPED, created_at=moment, updated_at=moment)
