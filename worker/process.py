"""What every process that a role starts has in common: it dies with the one that started it.

As a program (``python process.py PARENT_PID COMMAND...``) it asks the system for that and then becomes COMMAND.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


def bound(command: list[str]) -> list[str]:
    """The command line that runs ``command`` so that it is killed when the thread that starts it ends, however it ends.

    Where the system cannot do that (not Linux), it is ``command`` itself.
    """
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


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
    die_with_parent(parent)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main()
