"""Training runs as the service sees them: the folder's truth, the queue's turn, and what may be done with each."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import ValidationError
from rq.job import JobStatus

from app.forecast import HIDDEN_OPTIONS
from app.run_requests import AcceptedRun, RunChecker, RunRequest
from app.settings import Settings
from app.training_schemas import TrainingRun
from models.errors import Conflict, DatasetError, RunFolderError, Unavailable, UnknownDataset, UnknownRun
from models.store.catalog import Catalog
from models.store.datasets import DatasetStore, fingerprint
from models.store.run_status import RunState, RunStatus, is_held, let_go, now, read_status, write_status
from models.store.runs import RunStore
from worker.contract import MAX_TRIES, Failure, FailureCode
from worker.errors import QueueError
from worker.preparation_queue import PreparationQueue
from worker.training_queue import TrainingQueue

log = logging.getLogger("doppel.app")

TRAINER_SEEN_S = 30
JUST_WRITTEN = timedelta(seconds=5)
# What comes of a run that was removed meanwhile, or is damaged, or of another version.
UNREADABLE = (UnknownRun, RunFolderError, ValidationError, FileNotFoundError)
DIED = "The training process ended without a word; its log says more. Resume goes on from its last checkpoint."
LOST = "The queue lost this run's turn. Resume queues it again."
TRAINERS_DIED = (
    f"Its trainer died {MAX_TRIES} times, and between them it came no further. Resume goes on from its last checkpoint."
)


class Runs:
    """Starts, finds, stops and resumes runs."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        datasets: DatasetStore,
        queue: TrainingQueue,
        preparation: PreparationQueue,
    ) -> None:
        self.store = RunStore(settings.data_dir)
        self._checker = RunChecker(catalog, datasets, self.store, preparation)
        self._datasets = datasets
        self._queue = queue

    # what is done

    def check(self, requests: Sequence[RunRequest]) -> list[AcceptedRun]:
        """Check requests for runs; raises as :meth:`RunChecker.check` does."""
        return self._checker.check(requests, self._queue.trainers(seen_within_s=TRAINER_SEEN_S))

    def start(self, accepted: AcceptedRun) -> str:
        """Queue a new run; its id.

        Raises:
            Unavailable: no trainer runs.
        """
        self.require_trainer()
        run_id = self.create(accepted, pictures=self.pictures(accepted.dataset))
        try:
            self.submit(run_id)
        except QueueError:
            self.store.remove(run_id)
            raise
        return run_id

    def submit(self, run_id: str) -> None:
        """Queue the first attempt at a run that was created."""
        self._queue.submit(run_id, 1)

    def pictures(self, dataset: str) -> str:
        """The fingerprint of a data set's pictures, each of which is looked at.

        Raises:
            UnknownDataset: it was removed.
        """
        try:
            return fingerprint(self._datasets.path(dataset))
        except FileNotFoundError:
            raise UnknownDataset(dataset, self._datasets.names()) from None

    def create(self, accepted: AcceptedRun, *, pictures: str, comparison: str | None = None) -> str:
        """Make a new run's folder; its id."""
        moment = now()
        status = RunStatus(
            dataset=accepted.dataset,
            dataset_fingerprint=pictures,
            family=accepted.options.family,
            init_from=accepted.init_from,
            comparison=comparison,
            created_at=moment,
            updated_at=moment,
            total_steps=accepted.forecast.total_steps,
            gflop_per_step=accepted.forecast.gflop_per_step,
            attempts=1,
        )
        run_id = self.store.create(accepted.options, status)
        if not self._datasets.path(accepted.dataset).is_dir():  # removed since it was looked at
            self.store.remove(run_id)
            raise UnknownDataset(accepted.dataset, self._datasets.names())
        return run_id

    def require_trainer(self) -> None:
        """Refuse runs that nobody would make.

        Raises:
            Unavailable: no trainer was heard of for a while.
        """
        if not self._queue.trainers(seen_within_s=TRAINER_SEEN_S):
            raise Unavailable(
                f"No trainer was heard of for {TRAINER_SEEN_S} s. The operator starts one with: doppel trainer"
            )

    def stop(self, run_id: str, *, force: bool) -> None:
        """Have a run stop: queued, it never begins; running, it saves a checkpoint at the end of its step.

        Args:
            force: end its process at once instead; what came after the last checkpoint is lost.

        Raises:
            UnknownRun: there is none of this id.
            Conflict: it has ended.
        """
        with self.store.changing(run_id):
            folder = self.store.folder(run_id)
            status = self.status(run_id)
            if status.status.ended:
                raise Conflict(f"The run has {status.status} already.")
            folder.request_stop()
            # One that trains may have a turn in the queue too, given back while Redis had not heard of it for a while.
            if not is_held(folder.path) and self._queue.withdraw(run_id, status.attempts):
                status.status, status.finished_at = RunState.STOPPED, now()
                write_status(folder.path, status)
            elif force:
                self._queue.kill(run_id, status.attempts)

    def resume(self, run_id: str) -> None:
        """Queue a run again that was stopped or has failed; it goes on from its last checkpoint, exactly.

        Raises:
            UnknownRun: there is none of this id.
            Conflict: it runs or waits, has succeeded, or its data set is gone.
            Unavailable: no trainer runs.
        """
        with self.store.changing(run_id):
            self._resume(run_id)

    def _resume(self, run_id: str) -> None:
        folder = self.store.folder(run_id)
        if not self.at_rest(run_id):
            raise Conflict(f"The run is {self.status(run_id).status}; there is nothing to resume.")
        status = self.status(run_id)
        if status.status is RunState.SUCCEEDED:
            raise Conflict("The run has succeeded; start another one from it with init_from, once it is published.")
        try:
            found = self.pictures(self._datasets.get(status.dataset).name)
        except (UnknownDataset, DatasetError):
            raise Conflict(f"The data set {status.dataset!r} that the run was trained on is gone.") from None
        if status.dataset_fingerprint not in (None, found):
            raise Conflict(
                f"The pictures of the data set {status.dataset!r} are not those that the run began with, so it cannot "
                "go on exactly."
            )
        start = folder.options().init_from
        if start is not None and not start.exists() and not folder.checkpoints():
            raise Conflict(f"The model {status.init_from!r} that the run was to start from is gone.")
        self.require_trainer()
        status.status = RunState.QUEUED
        status.error = None
        status.finished_at = None
        status.attempts += 1
        write_status(folder.path, status)
        folder.forget_stop()
        self._queue.submit(run_id, status.attempts)

    def remove(self, run_id: str) -> None:
        """Remove a run that has ended, with all that it left behind; published models stay.

        Raises:
            UnknownRun: there is none of this id.
            Conflict: it has not ended.
        """
        with self.store.changing(run_id):
            if not self.removable(run_id):
                raise Conflict(f"The run is {self.status(run_id).status}; stop it first.")
            self.store.remove(run_id)

    # what is seen

    def removable(self, run_id: str) -> bool:
        """Whether a run is at rest, or damaged so that nothing else can be done with it.

        Raises:
            UnknownRun: there is none of this id.
        """
        try:
            return self.at_rest(run_id)
        except RunFolderError:
            return let_go(self.store.folder(run_id).path)

    def at_rest(self, run_id: str) -> bool:
        """Whether a run has ended and no process is in its folder any more; of one that is about to go, it is awaited.

        Raises:
            UnknownRun: there is none of this id.
        """
        return self.status(run_id).status.ended and let_go(self.store.folder(run_id).path)

    def status(self, run_id: str) -> RunStatus:
        """Where a run stands: what its folder says, unless the process that would say more is gone.

        Raises:
            UnknownRun: there is none of this id.
        """
        folder = self.store.folder(run_id)
        status = read_status(folder.path)
        if status is None:
            moment = now()
            status = RunStatus(status=RunState.STOPPED, created_at=moment, updated_at=moment)
        if status.status.ended or is_held(folder.path):
            return status
        turn = self._queue.status(run_id, status.attempts)
        if turn in (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.SCHEDULED):
            if turn is JobStatus.QUEUED:
                status.status = RunState.QUEUED
            return status
        if turn is None and now() - status.updated_at < JUST_WRITTEN:
            return status  # whoever wrote it may be about to queue it
        # It may have ended between the two looks.
        latest = read_status(folder.path) or status
        if latest.status.ended or latest.attempts != status.attempts or is_held(folder.path):
            return latest
        # Nobody is left to write the end; it is told anew at each look.
        stopped = folder.stop_requested or latest.status is RunState.QUEUED
        latest.status = RunState.STOPPED if stopped else RunState.FAILED
        latest.error = None if folder.stop_requested else _why(turn, stopped)
        latest.finished_at, latest.eta_s = latest.updated_at, None
        return latest

    def unfinished(self) -> dict[str, list[str]]:
        """Data set → runs that have not ended and train on it, or wait to."""
        found: dict[str, list[str]] = {}
        for run_id, status in self._unfinished():
            found.setdefault(status.dataset, []).append(run_id)
        return found

    def begun_from(self, model: str) -> list[str]:
        """Runs that have not ended and start from this model."""
        return [run_id for run_id, status in self._unfinished() if status.init_from == model]

    def _unfinished(self) -> Iterator[tuple[str, RunStatus]]:
        for run_id, written in self.store.statuses():
            if not written.status.ended:
                with contextlib.suppress(UnknownRun):  # removed meanwhile
                    status = self.status(run_id)
                    if not status.status.ended:
                        yield run_id, status

    def using(self, dataset: str) -> list[str]:
        """Runs that have not ended and train on this data set, or wait to."""
        return self.unfinished().get(dataset, [])

    def all(self) -> list[TrainingRun]:
        """Every run that can be read, newest first."""
        runs = []
        for run_id in self.store.ids():
            try:
                runs.append(self.view(run_id))
            except UNREADABLE as error:
                log.warning("run %s is left out of the list: %s", run_id, error)
        return runs

    def view(self, run_id: str) -> TrainingRun:
        """A run as a client sees it."""
        folder = self.store.folder(run_id)
        status = self.status(run_id)
        options = folder.options()
        base = f"/training/{run_id}"
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
            error=Failure(code=FailureCode.TRAINING_FAILED, detail=status.error) if status.error else None,
            links=links,
        )


def _why(turn: JobStatus | None, stopped: bool) -> str:
    """Why a run has ended that nobody says so of, by what the queue knows of its turn."""
    if turn is JobStatus.FAILED:
        return TRAINERS_DIED
    return LOST if stopped else DIED
