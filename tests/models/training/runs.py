"""Training runs: written, trained in this process or in one of their own, killed, compared."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models.store.options import Options
from models.store.run_folder import RunFolder
from models.store.run_status import RunState
from models.training.attempt import attempt
from models.training.checkpoints import load_state
from tests.processes import eventually


def write_run(path: Path, options: Options) -> RunFolder:
    path.mkdir()
    (path / "options.json").write_text(options.model_dump_json())
    return RunFolder(path)


def train_here(run: RunFolder) -> RunState:
    """Train in this process, for tests of what a run leaves behind: a process of its own loads torch anew."""
    return attempt(run.path, on_progress=lambda step, total_steps, losses: None, should_stop=lambda: False)


def train(
    run: RunFolder, *, within_s: float | None = None, python_options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python_options, "-m", "models.training", str(run.path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=within_s)


def kill_after(run: RunFolder, steps_done: int) -> None:
    """Train, and kill -9 the process once it has done so many steps."""
    killed = subprocess.Popen([sys.executable, "-m", "models.training", str(run.path)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: len(steps(run)) >= steps_done, every_s=0.005)
    finally:
        killed.kill()
    killed.wait()


def steps(run: RunFolder) -> list[int]:
    """The steps that the metrics tell of."""
    return [int(record["step"]) for record in run.metrics()]


def fingerprint(run: RunFolder) -> str:
    """sha256 over all networks' weights in the newest checkpoint."""
    digest = hashlib.sha256()
    for name, state in sorted(load_state(run.checkpoints()[-1])["trainer"].items()):
        if name.startswith(("optimizer", "pool")):
            continue
        for key, tensor in state.items():
            digest.update(f"{name}/{key}".encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
