"""The process ``doppel trainer``: takes runs from the training queue, one at a time, and trains each in a process.

The training is the command ``python -m models.training``, in a process of its own, so that all memory is free again
when it ends and this process never loads torch.
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

import redis
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.worker import WorkerStatus

from models.cores import usable_cores
from models.errors import RunFolderError, UnknownRun
from models.process import bound
from models.store.files import is_full
from models.store.run_folder import BALLAST_FILE, RunFolder
from models.store.run_lock import is_locked, wait_until_unlocked
from models.store.run_status import Alarm, RunState, now, read_status, write_status
from models.store.runs import RunStore
from models.training.launch import CANNOT_FLUSH, CANNOT_WRITE, TrainingProcess
from worker import contract
from worker.connection import LOST, connect
from worker.heartbeat import ReportingWorker
from worker.janitor import Janitor
from worker.training_queue import TrainerReport, rq_training_queue

PATIENCE_S = 30
GPU_ANSWER_S = 120  # the first look at a GPU may take long
ROOM_WAIT_S = 1.0  # between two looks whether a full disk has room
DISK_WAS_FULL = "The disk was full when it ended; free some space first."
NICENESS = 10  # translations come before training

log = logging.getLogger("doppel.trainer")


class Trainer(ReportingWorker, SimpleWorker):
    """Owns the process of the run in hand, its lease and its signals; RQ decides which run that is.

    - The heartbeat thread renews the lease. If this process dies, its training dies with it, and the janitor queues the
      run again.
    - SIGTERM: the training saves a checkpoint and ends, and its run goes back to the head of the queue.
    - RQ's stop command: the training is killed.

    However a training ends, this process waits until nobody trains in the folder any more, and sees to it that the
    folder says how it ended.

    Args:
        data_dir: where the runs are.
        device: for trainings; ``auto``: as each run's options say.
        reserved_mb: GPU memory that trainings leave to others, in MiB.
        threads: CPU threads for a training, shared by its processes.
    """

    reports = contract.TRAINERS

    def __init__(self, connection: redis.Redis, *, data_dir: Path, device: str, reserved_mb: int, threads: int) -> None:
        queue = rq_training_queue(connection)
        name = trainer_name(os.getpid())
        super().__init__([queue], name=name, connection=connection, serializer=queue.serializer, worker_ttl=60)
        self._runs = RunStore(data_dir.resolve())
        self._device = device
        self._options = ["--reserved-mb", str(reserved_mb), *(["--device", device] if device != "auto" else [])]
        self._reserved_mb = reserved_mb
        self._threads = threads
        self._training: TrainingProcess | None = None

    def run(self) -> None:
        """Train until SIGTERM or SIGINT."""
        self.work(logging_level="WARNING")

    # what RQ calls

    def execute_job(self, job: Job, queue: Queue) -> None:
        execution = self.prepare_execution(job)
        self.prepare_job_execution(job, remove_from_intermediate_queue=True)
        try:
            # JSON keeps pickles out, but a job still names a function; none is ever called.
            if job.func_name != contract.TRAIN:
                raise PermissionError(f"The function {job.func_name!r} is not one that a trainer runs.")
            requeue = self._make_attempt(job)
        except LOST:
            raise  # ends this process, and the run is queued again when the lease has run out
        except Exception:
            job.retries_left = 0  # only the death of a trainer is worth another try
            self._finalize_failure(job, queue, execution, sys.exc_info())
        else:
            if requeue:
                self._hand_back(job, queue, execution)
            else:
                self._finalize_success(job, queue, execution, None)
        self.set_state(WorkerStatus.IDLE)

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()
        if self._training is not None:
            self._training.stop()

    def set_shutdown_requested_date(self) -> None:
        """Write nothing: RQ calls this in a signal handler, where a lost Redis would break off the wait."""

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the training in hand, on RQ's stop command."""
        if self._training is not None:
            self._training.kill()

    # attempts

    def _make_attempt(self, job: Job) -> bool:
        """Train a run until its process ends, and have its folder say how it ended.

        Returns:
            Whether the attempt goes back to the queue, because this process is ending.
        """
        run_id, attempt = job.kwargs["run"], job.kwargs["attempt"]
        try:
            run = self._runs.folder(run_id)
            with TrainingProcess(run, *self._options, requeue=True) as training:
                self._training = training
                if self._stop_requested:
                    training.stop()
                while not wait_until_unlocked(run.path):  # the training of a trainer that died may take a while to end
                    if training.stopping or training.killed:
                        return training.stopping
                if not _is_open(run, attempt):
                    return False
                status = 0 if run.stop_requested else self._train(job, run, training)
        except UnknownRun:
            return False  # removed while it waited
        except (RunFolderError, OSError) as error:
            log.error("run %s cannot be started: %s", run_id, error)
            why = f"The training process could not be started: {error}."
            return self._conclude(run_id, attempt, why, disk_full=isinstance(error, OSError) and is_full(error))
        finally:
            self._training = None
        stopped = status == 0 or (run.stop_requested and (training.stopping or training.killed))
        requeue = training.stopping and not run.stop_requested
        disk_full = status in (CANNOT_WRITE, CANNOT_FLUSH)
        return self._conclude(run_id, attempt, None if stopped else _explain(status), disk_full, requeue=requeue)

    def _train(self, job: Job, run: RunFolder, training: TrainingProcess) -> int:
        """Train until the process has ended and nobody trains in the folder any more; the process's exit status."""
        _renew_tries(job, run)
        # More threads than cores cost the training, and others, more than they bring.
        env = {"OMP_NUM_THREADS": str(max(1, self._threads // run.options().gpus))}
        with run.log_file.open("ab") as output:
            training.start(env=env, output=output, niceness=NICENESS)
            status = training.wait()
        while not wait_until_unlocked(run.path):
            log.warning("the training in %s has ended, but processes that it started have not", run.path)
        return status

    def _conclude(
        self, run_id: str, attempt: int, why: str | None, disk_full: bool = False, *, requeue: bool = False
    ) -> bool:
        """Write how an attempt ended, unless its process did so itself.

        On a full disk it waits for room: the next run could not be trained either. If this process is to end
        meanwhile, the attempt goes back to the queue.

        Args:
            why: the run failed; None: it was stopped.
            disk_full: the disk was full then.
            requeue: it goes back to the queue instead.

        Returns:
            Whether it goes back to the queue.
        """
        waits = False
        while True:
            try:
                with contextlib.suppress(UnknownRun, RunFolderError), self._runs.changing(run_id):
                    run = self._runs.folder(run_id)
                    return _write_end(run, attempt, why, disk_full, requeue)
                return False
            except OSError as error:
                if not is_full(error):
                    log.error("how run %s ended cannot be written: %s", run_id, error)
                    return requeue
                if requeue or self._stop_requested:
                    return True
                if not waits:
                    log.warning("how run %s ended is written once the disk has room: %s", run_id, error)
                waits = disk_full = True
            time.sleep(ROOM_WAIT_S)
            if is_locked(self._runs.root / run_id):
                return False  # the queue has given the attempt to another trainer

    def _hand_back(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Put the attempt back at the head of the queue. No try is used up."""
        leased = self.connection.zscore(queue.started_job_registry.key, execution.composite_key)
        with self.connection.pipeline() as pipe:
            if leased is not None:  # or the janitor has queued it already
                job.set_status(JobStatus.QUEUED, pipeline=pipe)
                pipe.lpush(queue.key, job.id)
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.execute()

    def _beat(self) -> None:
        self.renew_leases()
        report = TrainerReport(
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            gpu_memory_mb=gpu_memory_mb(self._device),
            cores=usable_cores(),
            reserved_mb=self._reserved_mb,
            seen_at=time.time(),
        )
        self.connection.hset(self.reports, self.name, report.model_dump_json())


def _is_open(run: RunFolder, attempt: int) -> bool:
    """Whether the run has not ended, and this is its newest attempt."""
    status = read_status(run.path)
    return status is not None and not status.status.ended and status.attempts == attempt


def _write_end(run: RunFolder, attempt: int, why: str | None, disk_full: bool, requeue: bool) -> bool:
    """Write how an attempt ended. Arguments and answer are those of :meth:`Trainer._conclude`.

    Raises:
        OSError: the disk is full, for instance.
    """
    status = read_status(run.path)
    if status is None or not _is_open(run, attempt):
        return False
    if requeue:
        status.status = RunState.QUEUED
    else:
        status.status = RunState.STOPPED if why is None else RunState.FAILED
        status.finished_at, status.error = now(), why
        if why is not None and disk_full:
            status.error = f"{why} {DISK_WAS_FULL}"
            status.alarms.append(Alarm(kind="disk", step=status.step, detail=DISK_WAS_FULL))
    status.eta_s = None
    (run.path / BALLAST_FILE).unlink(missing_ok=True)  # a training that was killed has left it
    write_status(run.path, status)
    return requeue


def _explain(status: int) -> str:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"The training process {how}; see its log. Resume continues from the last checkpoint."


def _renew_tries(job: Job, run: RunFolder) -> None:
    """Give a run that has a new checkpoint since its last try all its tries back."""
    status = read_status(run.path)
    reached = status.last_checkpoint if status else None
    if reached is not None and reached > job.meta.get("reached", 0):
        job.meta["reached"] = reached
        job.retries_left = contract.MAX_TRIES - 1  # RQ reads this object, the janitor what is in Redis
        job.save_meta()  # type: ignore[no-untyped-call]
        job.connection.hset(job.key, "retries_left", job.retries_left)


def run_trainer(*, redis_url: str, data_dir: Path, device: str, reserved_mb: int, threads: int | None) -> None:
    """Serve the training queue until SIGTERM or SIGINT. The parameters are the settings of the same names.

    Raises:
        subprocess.CalledProcessError: there is no such ``device``; the reason is on standard error.
    """
    if device not in ("auto", "cpu"):
        gpu_memory_mb(device)
    connection = connect(redis_url, patience_s=PATIENCE_S)
    # In a restarted container, host name and process id are those of the trainer that died.
    Janitor(connection).recover(trainer_name(os.getpid()))
    Trainer(
        connection,
        data_dir=data_dir,
        device=device,
        reserved_mb=reserved_mb,
        threads=threads or max(1, usable_cores() - 1),
    ).run()


@functools.cache
def gpu_memory_mb(device: str) -> list[int]:
    """Memory in MiB of each GPU that a run could use. Asked once, of a process, since this one loads no torch.

    Raises:
        subprocess.CalledProcessError: there is no such device, or not yet.
    """
    if device == "cpu" or (device == "auto" and shutil.which("nvidia-smi") is None):
        return []
    command = bound([sys.executable, "-m", "models.device", device])
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=GPU_ANSWER_S)
    return [int(line) for line in answer.stdout.split()]


def trainer_name(pid: int) -> str:
    """The name under which RQ knows a trainer process on this host."""
    return f"doppel-trainer-{socket.gethostname()}-{pid}"
