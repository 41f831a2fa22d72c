"""Processes of their own, forked from one that has loaded torch and more: loading it anew takes three seconds.

The processes that they start are forks, too, so all have the same command line. All are killed with the process that
runs the tests.
"""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from models.process import die_with_parent
from models.store.run_folder import RunFolder

# Elsewhere than on Linux, a process that has loaded torch can't safely be forked.
_context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_context.set_forkserver_preload(["tests.loaded"])


class Fork:
    """A process that calls ``function``, which exits as a program does.

    Args:
        output: a file for what it prints.
        env: added to the environment of this process.
    """

    def __init__(
        self, function: Callable[..., object], *arguments: Any, output: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._output = output
        self._process = _context.Process(target=_begin, args=(output, os.environ | (env or {}), function, arguments))
        self._process.start()
        self.pid = self._process.pid

    @property
    def printed(self) -> str:
        return self._output.read_text()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or minus the number of the signal that killed it."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"it still runs after {timeout} s"
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit status if it has ended."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Kill it, if it has not ended by itself."""
        self._process.kill()
        self._process.join()


@contextmanager
def fork(
    function: Callable[..., object], *arguments: Any, output: Path, env: Mapping[str, str] | None = None
) -> Iterator[Fork]:
    forked = Fork(function, *arguments, output=output, env=env)
    try:
        yield forked
    finally:
        forked.end()


def training(
    run: RunFolder, *, file_bytes: int | None = None, env: Mapping[str, str] | None = None
) -> AbstractContextManager[Fork]:
    """``python -m models.training RUN_DIR``, whose files may have ``file_bytes``, as a :func:`fork`."""
    return fork(_train, run.path, file_bytes, output=run.path.with_suffix(".log"), env=env)


def _begin(output: Path, env: Mapping[str, str], function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    die_with_parent(os.getppid())
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # the usual one of this system, not what made this process
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    with output.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.exit(function(*arguments))


def _train(folder: Path, file_bytes: int | None) -> int:
    from models.training.__main__ import main

    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    sys.argv = ["python -m models.training", str(folder)]
    return main()
