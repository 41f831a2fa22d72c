"""The process ``doppel trainer``: takes runs from the training queue, one at a time, each in processes of its own.

RQ's SpawnWorker gives every run a fresh interpreter, since a GPU cannot be used after a fork, and watches over it; that
one starts the very command that ``python -m models.training`` is, so that all memory is free again at its end.
"""

import contextlib
import functools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import BaseModel
from rq import Queue, SpawnWorker, get_current_job
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from models.errors import RunFolderError, UnknownRun
from models.process import bound, die_with_parent
from models.store.run_folder import RunFolder
from models.store.run_status import RunState, RunStatus, let_go, now, read_status, write_status
from models.store.runs import RunStore
from models.training.launch import command
from worker import contract
from worker.connection import LOST, connect
from worker.contract import HEARTBEAT_S
from worker.errors import HandedBack, QueueError
from worker.heartbeat import ReportingWorker
from worker.janitor import Janitor
from worker.training_queue import TrainerReport, TrainingQueue, rq_training_queue

PATIENCE_S = 30
GPU_ANSWER_S = 120  # the first look at a GPU may take long
NICENESS = 10  # pictures come before training
CONTEXT = "DOPPEL_TRAINER_CONTEXT"  # environment variable that tells a run's process what its trainer was told

log = logging.getLogger("doppel.trainer")


class Context(BaseModel):
    """What a trainer was told, for the processes that it starts."""

    pid: int  # the trainer's
    redis_url: str
    data_dir: Path
    device: str
    reserved_mb: int
    threads: int

    @classmethod
    def read(cls) -> "Context":
        return cls.model_validate_json(os.environ[CONTEXT])


class TrainWorker(ReportingWorker, SpawnWorker):
    """Runs allow-listed jobs only, with short leases, in processes that die with it.

    Each of those makes one of its own, by what RQ knows of this one; it takes no jobs and reports nothing.
    """

    reports = contract.TRAINERS

    def __init__(self, *arguments: Any, device: str = "cpu", reserved_mb: int = 0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._device = device
        self._reserved_mb = reserved_mb

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Start the run's process, deaf to SIGTERM until it obeys (``_Ending``); tell it of one that came before."""
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            super().fork_work_horse(job, queue)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        if self._stop_requested:
            self._end_horse()

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the run's process and those it started; where there is none, RQ's own would kill this one's group."""
        if pid := self.horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, sig)

    def _end_horse(self) -> None:
        if pid := self.horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        die_with_parent(Context.read().pid)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Renew the lease. A Redis that is away is no reason to end a run that needs none."""
        try:
            super().maintain_heartbeats(job, execution)
        except LOST:
            log.warning("the lease of %s was not renewed: Redis is away", job.id)

    def handle_warm_shutdown_request(self) -> None:
        """Have the run in hand save a checkpoint and go back to the queue, rather than wait days for its end."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._end_horse()

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        # JSON keeps pickles out, but a job still names a function: none but ours is ever called.
        if job.func_name != contract.TRAIN:
            try:
                raise PermissionError(f"The function {job.func_name!r} is not one that a trainer runs.")
            except PermissionError:
                job.retries_left = 0
                self._finalize_failure(job, queue, execution, sys.exc_info())
                return False
        return super().perform_job(job, queue, execution)

    def _beat(self) -> None:
        """Report this trainer alive, and what it has."""
        report = TrainerReport(
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            gpu_memory_mb=gpu_memory_mb(self._device),
            cores=os.cpu_count() or 1,
            reserved_mb=self._reserved_mb,
            seen_at=time.time(),
        )
        self.connection.hset(contract.TRAINERS, self.name, report.model_dump_json())


def run_trainer(*, redis_url: str, data_dir: Path, device: str, reserved_mb: int, threads: int | None) -> None:
    """Serve the training queue until SIGTERM or SIGINT. The parameters are the settings of the same names.

    Raises:
        subprocess.CalledProcessError: ``device`` names one that is not there; why was said in standard error.
    """
    if device not in ("auto", "cpu"):
        gpu_memory_mb(device)
    context = Context(
        pid=os.getpid(),
        redis_url=redis_url,
        data_dir=data_dir.resolve(),
        device=device,
        reserved_mb=reserved_mb,
        threads=threads or max(1, (os.cpu_count() or 1) - 1),
    )
    os.environ[CONTEXT] = context.model_dump_json()
    connection = connect(redis_url, patience_s=PATIENCE_S)
    # In a container that is started again host and process number are those of the trainer that died.
    Janitor(connection).recover(trainer_name(os.getpid()))
    TrainWorker(
        [rq_training_queue(connection)],
        name=trainer_name(os.getpid()),
        connection=connection,
        serializer=JSONSerializer,
        job_monitoring_interval=HEARTBEAT_S,
        worker_ttl=60,
        device=device,
        reserved_mb=reserved_mb,
    ).work(logging_level="WARNING")


@functools.cache
def gpu_memory_mb(device: str) -> list[int]:
    """Memory of each GPU that a run could have, in MiB; asked of a process, once, since this one loads no torch.

    Raises:
        subprocess.CalledProcessError: there is no such device, or not yet.
    """
    if device == "cpu" or (device == "auto" and shutil.which("nvidia-smi") is None):
        return []
    command = bound([sys.executable, "-m", "models.device", device])
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=GPU_ANSWER_S)
    return [int(line) for line in answer.stdout.split()]


def trainer_name(pid: int) -> str:
    """The name under which a trainer process on this host is known to RQ."""
    return f"doppel-trainer-{socket.gethostname()}-{pid}"


def train(run: str, attempt: int) -> None:
    """One attempt at a run, in the process that RQ made for it.

    However it ends, its folder says so, and RQ has nothing to try again. SIGTERM ends it with a checkpoint and puts it
    back at the head of the queue.

    Raises:
        QueueError: Redis stays away, so that it could not be put there; once it is back, RQ tries this attempt again.
        HandedBack: SIGTERM came before it could begin; RQ tries this attempt again, and no try is used up.
    """
    context = Context.read()
    store = RunStore(context.data_dir)
    ending = _Ending()
    try:
        folder = store.folder(run)
        reason, stopped = "", True  # while it waited
        if _its_turn(folder, attempt, ending):
            _renew_tries(folder)
            code = _trained(context, folder, ending)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            reason = f"The training process {how}; its log says more. Resume goes on from its last checkpoint."
            stopped = ending.is_due or code == 0  # by a person who told the training, and not this process
    except UnknownRun:
        return  # removed while it waited
    except (RunFolderError, OSError) as error:
        reason, stopped = f"The training process could not be started: {error}", False
        log.error("run %s: %s", run, reason)
    with contextlib.suppress(UnknownRun, RunFolderError), store.changing(run):
        status = read_status(folder.path)
        if status is None or not _is_open(folder, attempt):
            return  # as it should be; or resumed already
        if ending.is_due and not folder.stop_requested:
            _go_on_later(context, run, folder.path, status)
        else:
            _conclude(folder.path, status, None if stopped else reason)


class _Ending:
    """Whether SIGTERM came, which is passed on to the training."""

    def __init__(self) -> None:
        self.is_due = False
        self._training: subprocess.Popen[Any] | None = None
        signal.signal(signal.SIGTERM, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # one that came while this process started

    def of(self, training: subprocess.Popen[Any]) -> None:
        """It ends this one too, if it has not come already."""
        self._training = training
        if self.is_due:
            training.terminate()

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        known, self.is_due = self.is_due, True
        if self._training is not None and not known:  # a second one would break off torchrun's own ending
            self._training.terminate()


def _its_turn(folder: RunFolder, attempt: int, ending: _Ending) -> bool:
    """Whether the attempt is to be made, once nobody trains in the folder any more.

    A trainer that was killed may leave a training behind that takes a while to be gone, with all its memory.
    """
    while _is_open(folder, attempt):
        if let_go(folder.path):
            return _is_open(folder, attempt) and not folder.stop_requested
        if ending.is_due:
            if (job := get_current_job()) is not None:
                _leave_tries(job, (job.retries_left or 0) + 1)
            raise HandedBack(f"{folder.path} is not free yet")
    return False


def _is_open(folder: RunFolder, attempt: int) -> bool:
    """Whether the attempt did not end just before its trainer died, and was not overtaken by another."""
    status = read_status(folder.path)
    return status is not None and not status.status.ended and status.attempts == attempt


def _renew_tries(folder: RunFolder) -> None:
    """A run that has come further since it was last taken up may lose its trainer as often again."""
    job = get_current_job()
    status = read_status(folder.path)
    reached = status.last_checkpoint if status else None
    if job is not None and reached is not None and reached > job.meta.get("reached", 0):
        job.meta["reached"] = reached
        _leave_tries(job, contract.MAX_TRIES - 1)


def _leave_tries(job: Job, count: int) -> None:
    job.retries_left = count  # RQ goes by this object, the janitor by what Redis has
    job.connection.hset(job.key, mapping={"meta": job.serializer.dumps(job.meta), "retries_left": str(count)})


def _trained(context: Context, folder: RunFolder, ending: _Ending) -> int:
    """Train until the run's process ends and nobody is in its folder; its exit status."""
    os.nice(NICENESS)
    place = ["--device", context.device] if context.device != "auto" else []
    place += ["--reserved-mb", str(context.reserved_mb), "--goes-on"]
    # Threads that wait for one another on a busy core cost more than they bring, to others and to the training.
    env = os.environ | {"OMP_NUM_THREADS": str(max(1, context.threads // folder.options().gpus))}
    with folder.log_file.open("ab") as output:
        training = subprocess.Popen(command(folder.path, *place), env=env, stdout=output, stderr=output)
        ending.of(training)
        code = training.wait()
    while not let_go(folder.path):
        log.warning("the training in %s has ended, but for processes that it started", folder.path)
    return code


def _conclude(folder: Path, status: RunStatus, error: str | None) -> None:
    """Say of a run how it ended, since its process did not live to; None: it was stopped."""
    status.status = RunState.STOPPED if error is None else RunState.FAILED
    status.finished_at, status.eta_s = now(), None
    status.error = error
    with contextlib.suppress(OSError):  # on a full disk the API tells that nobody trains any more
        write_status(folder, status)


def _go_on_later(context: Context, run: str, folder: Path, status: RunStatus) -> None:
    """Have the run taken up again by the next trainer, before all others that wait."""
    status.status = RunState.QUEUED
    status.eta_s = None
    status.attempts += 1
    write_status(folder, status)
    try:
        TrainingQueue(connect(context.redis_url, patience_s=PATIENCE_S)).submit(run, status.attempts, first=True)
    except QueueError:
        status.attempts -= 1  # its lease runs out, as that of a trainer that was killed
        write_status(folder, status)
        raise
