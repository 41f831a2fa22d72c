"""Child processes that die with their parent, and the signals that ask a process to end. Standard library only.

As a program, ``python process.py PARENT_PID COMMAND...`` arranges for its own death with its parent, then becomes
COMMAND.
"""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
_STARTER = 0  # in place of PARENT_PID: the nearest ancestor that was started by this program
_PROGRAM = "DOPPEL_BOUND_PROCESS"  # environment variable with the process id of that ancestor


def bound(command: list[str]) -> list[str]:
    """A command line that runs ``command`` and is killed when the thread that starts it ends, for whatever reason.

    On systems other than Linux, ``command`` itself.
    """
    return _bound(os.getpid(), command)


def bound_to_its_starter(command: list[str]) -> list[str]:
    """Like :func:`bound`, for a command that another program starts, which itself was started by way of ``bound``."""
    return _bound(_STARTER, command)


def _bound(parent: int, command: list[str]) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, str(parent), *command] if sys.platform == "linux" else command


def become_bound(parent: int) -> None:
    """Make this process one as :func:`bound` starts: it dies with ``parent``, and other programs' children with it."""
    die_with_parent(parent)
    os.environ[_PROGRAM] = str(os.getpid())


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when ``parent``, which started it, ends. Exits if it has ended already.

    Does nothing on systems other than Linux.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Keep the garbage collector away from what is loaded inside, now and later.

    Torch makes a million objects that stay until the process ends. The collector would look through them again and
    again, and twice more at the end: a third of what it takes to start a process with torch and end it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def on_stop_signal(stop: Callable[[], object]) -> None:
    """Call ``stop`` on each SIGTERM, SIGINT and SIGHUP that this process gets, but for a SIGHUP that nohup ignores."""
    for number in _stop_signals():
        signal.signal(number, lambda signum, frame: stop())


def without_stop_signals() -> None:
    """Let the signals that ask a process to end do what they do in a program that has just been started."""
    for number in _stop_signals():
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _stop_signals() -> list[signal.Signals]:
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hang_up]


def _main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    become_bound(int(os.environ[_PROGRAM]) if parent == _STARTER else parent)  # exec keeps the process id
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main()
