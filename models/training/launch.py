"""The command line that trains a run, whoever starts it. Loads no torch."""

import sys
from pathlib import Path

from models.process import bound, bound_to_its_starter
from models.store.run_folder import RunFolder

STOP_TIMEOUT_S = 120  # for a training that is told to end: a step on a CPU may take a minute, then comes a checkpoint


def command(folder: Path, *extra: str) -> list[str]:
    """What to run for the run in ``folder``: one process, or ``torchrun`` with as many as its options say.

    All of them die with the process that calls this and starts it.

    Args:
        extra: options of ``python -m models.training``.
    """
    training = [sys.executable, "-m", "models.training", str(folder), *extra]
    processes = RunFolder(folder).options().gpus
    if processes == 1:
        return bound(training)
    spread = [
        "--standalone",
        "--local-addr=127.0.0.1",  # this machine's own name may mean nothing to it, as in some containers
        f"--nproc-per-node={processes}",
        f"--shutdown-timeout={STOP_TIMEOUT_S}",
        "--no-python",
    ]
    # A torchrun that is killed takes none of its children along by itself.
    return bound([sys.executable, "-m", "torch.distributed.run", *spread, *bound_to_its_starter(training)])
