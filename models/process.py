"""Child processes that are killed when their parent ends. Imports only the standard library, so that it can run alone.

Run as a program (``python process.py PARENT_PID COMMAND...``), it asks to die with its parent and executes COMMAND.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
_STARTER = 0  # instead of a process's number: the program that starts the command, itself run as this one
_PROGRAM = "DOPPEL_BOUND_PROCESS"  # environment variable: the number of the process that such a program is


def bound(command: list[str]) -> list[str]:
    """The command line that runs ``command`` so that it is killed when the thread that starts it ends, however it ends.

    Where the system cannot do that (not Linux), it is ``command`` itself.
    """
    return _bound(os.getpid(), command)


def bound_to_its_starter(command: list[str]) -> list[str]:
    """As :func:`bound`, for a command that is started by a program which is itself run as :func:`bound` says."""
    return _bound(_STARTER, command)


def _bound(parent: int, command: list[str]) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, str(parent), *command] if sys.platform == "linux" else command


def die_with_parent(parent: int) -> None:
    """Ask the system to kill this process when ``parent``, which started it, ends; end now if it was gone before that.

    Where the system can't do that (not Linux), nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def _main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    die_with_parent(int(os.environ[_PROGRAM]) if parent == _STARTER else parent)
    os.environ[_PROGRAM] = str(os.getpid())  # which it keeps
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main()
