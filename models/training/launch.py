"""Starting, stopping and waiting for the training of a run, for trainers and ``doppel train``. Loads no torch."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from models.process import bound, bound_to_its_starter
from models.store.run_folder import RunFolder

CANNOT_WRITE = os.EX_IOERR  # exit status of a training whose disk is full
# Python's, if what was printed could not be written in the end: to the run's log, which is on the same disk.
CANNOT_FLUSH = 120
STOP_TIMEOUT_S = 120  # a step on a CPU may take a minute, and a checkpoint follows it


def command(folder: Path, *options: str) -> list[str]:
    """The command line that trains the run in ``folder``: one process, or ``torchrun`` with as many as its options say.

    On Linux all of them are killed when the thread that starts the command ends.

    Args:
        options: of ``python -m models.training``.
    """
    training = [sys.executable, "-m", "models.training", str(folder), *options]
    processes = RunFolder(folder).options().gpus
    if processes == 1:
        return bound(training)
    torchrun = [
        "--standalone",
        "--local-addr=127.0.0.1",  # the host's own name may not resolve, as in some containers
        f"--nproc-per-node={processes}",
        f"--shutdown-timeout={STOP_TIMEOUT_S}",
        "--no-python",
    ]
    # A torchrun that is killed does not end its children.
    return bound([sys.executable, "-m", "torch.distributed.run", *torchrun, *bound_to_its_starter(training)])


class TrainingProcess:
    """The training of one run: its process, and the signals that it gets (docs/run-life.md).

    Use it as a context manager: a training that still runs at the end of the block is killed. :meth:`stop` and
    :meth:`kill` may be called from signal handlers and other threads, at any time; before :meth:`start` they keep the
    training from being started.

    Args:
        run: its folder.
        options: of ``python -m models.training``.
        requeue: another process resumes the run after :meth:`stop`, so that leaves its state as queued, not as stopped.

    Raises:
        RunFolderError: the folder holds no run, or its options are damaged.
    """

    def __init__(self, run: RunFolder, *options: str, requeue: bool = False) -> None:
        self._run = run
        self._command = command(run.path, *options, *(["--requeue"] if requeue else []))
        # Torchrun answers a signal with a traceback. But a stop file means that a person wants the run stopped.
        self._stop_by_file = run.options().gpus > 1 and not requeue
        self._process: subprocess.Popen[bytes] | None = None
        self._terminate = False
        self._terminated = threading.Lock()  # taken by whoever sends SIGTERM: a second one makes torchrun give up
        self.stopping = False
        self.killed = False

    def __enter__(self) -> "TrainingProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def start(self, *, env: dict[str, str] | None = None, output: IO[Any] | None = None, niceness: int = 0) -> None:
        """Start the training, unless it was stopped before.

        Args:
            env: added to this process's environment.
            output: file for what the training prints; None: this process's own.
            niceness: added to the training's.
        """
        if self.stopping or self.killed:
            return
        # A terminal sends these two to all its processes. The training inherits the mask and gets SIGTERM alone, from
        # here: Ctrl-C would interrupt its imports.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            process = subprocess.Popen(self._command, env=os.environ | (env or {}), stdout=output, stderr=output)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if niceness:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
        self._process = process
        self._signal()  # stop or kill may have come since

    def stop(self) -> None:
        """Have the training save a checkpoint at the end of its step, and end."""
        again, self.stopping = self.stopping, True
        if self._stop_by_file and not again:
            with contextlib.suppress(OSError):  # on a full disk a signal must do
                self._run.request_stop()
                return
        self._terminate = True
        self._signal()

    def kill(self) -> None:
        """End the training at once."""
        self.killed = True
        self._signal()

    def _signal(self) -> None:
        if self._process is None:
            return
        if self.killed:
            self._process.kill()
        elif self._terminate and self._terminated.acquire(blocking=False):
            self._process.terminate()

    def wait(self) -> int:
        """Wait for the training to end; its exit status, or minus the number of the signal that killed it."""
        status = -signal.SIGTERM if self._process is None else self._process.wait()
        if self.stopping and self._stop_by_file:
            self._run.forget_stop()
        return status
