"""The command line that trains a run, whoever starts it. Loads no torch."""

import sys
from pathlib import Path

from models.training.run_folder import RunFolder


def command(folder: Path, *extra: str) -> list[str]:
    """What to run for the run in ``folder``: one process, or ``torchrun`` with as many as its options say.

    Args:
        extra: options of ``python -m models.training``.
    """
    arguments = ["-m", "models.training", str(folder), *extra]
    processes = RunFolder(folder).options().gpus
    if processes == 1:
        return [sys.executable, *arguments]
    # All are on this machine, whose own name may mean nothing to it, as in some containers.
    spread = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    return [sys.executable, *spread, *arguments]
