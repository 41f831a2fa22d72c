"""Roles as forks of their supervisor, which has loaded what they need: they start at once, and share its memory."""

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from setproctitle import setproctitle

from models.process import become_bound, without_stop_signals

WAIT_STEP_S = 0.02

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class ForkedRole:
    """A role's process. Its methods are those of ``subprocess.Popen`` that a supervisor uses.

    The process that starts it must have one thread: of others, the locks that they hold stay locked in a fork.

    Args:
        run: what it runs; it is given the arguments of ``command`` and returns the exit status.
        command: the command line that lists of processes show for it.
        env: its environment variables, beside those of this process.
        let_go: called in it first, to close what it inherits and does not need.
    """

    def __init__(
        self,
        run: Callable[[list[str]], int],
        command: list[str],
        *,
        env: dict[str, str],
        let_go: Callable[[], None],
    ) -> None:
        arguments = (os.getpid(), run, command, env, let_go)
        self._process = multiprocessing.get_context("fork").Process(target=_become, args=arguments)
        with _no_stop_signals():  # a signal that arrives before the child has reset its handlers would be lost
            self._process.start()
        assert self._process.pid is not None, "it was started"
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. (``Process.join`` would wait for its own forks, too.)"""
        begun = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - begun > timeout:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(WAIT_STEP_S)
        return code

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


@contextmanager
def _no_stop_signals() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _become(
    parent: int,
    run: Callable[[list[str]], int],
    command: list[str],
    env: dict[str, str],
    let_go: Callable[[], None],
) -> None:
    become_bound(parent)
    os.setsid()  # keeps Ctrl-C from reaching it before its turn to stop
    without_stop_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    let_go()
    setproctitle(shlex.join(command))  # before the environment changes, beside which it finds the old title
    os.environ.update(env)
    sys.argv = command
    sys.exit(run(command[1:]))
