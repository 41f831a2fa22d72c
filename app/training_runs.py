"""Training runs over HTTP: start, stop, resume and remove them, by their folders and the training queue."""

import logging
from collections.abc import Sequence
from pathlib import Path

from app.callers import Caller
from app.own_datasets import own_dataset, own_datasets
from app.run_requests import AcceptedRun, RunChecker, RunRequest
from app.run_views import TRAINER_SEEN_S, RunViews
from app.settings import Settings
from app.training_schemas import ResumeRequest
from app.webhooks import Webhooks
from models.errors import Conflict, DatasetError, Invalid, Unavailable, UnknownDataset
from models.store.catalog import Catalog
from models.store.datasets import DatasetStore, fingerprint
from models.store.disk import stored_bytes
from models.store.options import Options, StarGANOptions
from models.store.run_changes import changing_options
from models.store.run_choices import LENGTHS
from models.store.run_lock import is_locked
from models.store.run_pictures import check_pictures
from models.store.run_status import RunState, RunStatus, now, write_status
from models.store.runs import RunStore
from worker import contract
from worker.errors import QueueError, QueueFull
from worker.preparation_queue import PreparationQueue
from worker.training_queue import TrainingQueue

log = logging.getLogger("doppel.app")


class Runs(RunViews):
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
        super().__init__(RunStore(settings.data_dir), queue)
        self._settings = settings
        self._checker = RunChecker(catalog, datasets, self.store, preparation)
        self._datasets = datasets
        self._preparation = preparation
        self.webhooks = webhooks

    def check(self, requests: Sequence[RunRequest], caller: Caller) -> list[AcceptedRun]:
        """Check a caller's requests for runs; raises as :meth:`RunChecker.check` does.

        Raises:
            Invalid: there is no room for their checkpoints beside those that other runs will write.
        """
        for request in requests:
            self.webhooks.check(request.webhook)
            self.webhooks.require_room(request.webhook)
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
            LimitReached: the caller would have more runs in hand than its key allows.
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
            own = [info.name for info in own_datasets(self._datasets, accepted.caller)]
            raise UnknownDataset(accepted.dataset, own)
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
                retry_after_s=contract.TRAINING_RETRY_AFTER_S,
            )

    def require_trainer(self) -> None:
        """Refuse a run that nobody would train.

        Raises:
            Unavailable: no trainer has reported within ``TRAINER_SEEN_S``.
            NotInstalled: nor has a preparer with torch, so this is an installation without it.
        """
        if not self.trainers():
            if self._preparation.preparers(seen_within_s=TRAINER_SEEN_S):
                self._preparation.require_preparer(contract.ESTIMATE_QUEUE, torch_for="Training")
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
        self.webhooks.require_room(request.webhook)
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


def _places(options: Options) -> dict[str, Path]:
    """Where a run's inputs are that it reads whenever it is resumed."""
    places = {"dataset": options.dataset}
    if isinstance(options, StarGANOptions) and options.landmarks is not None:
        places["landmarks"] = options.landmarks
    return places
