"""Training runs: written, trained in this process or in one of their own, killed, compared."""

import hashlib
import signal
from pathlib import Path

from models.store.options import Options
from models.store.run_folder import RunFolder
from models.store.run_lock import is_locked
from models.store.run_status import RunState
from models.training.attempt import attempt
from models.training.checkpoints import load_state
from tests.forks import training
from tests.processes import eventually


def write_run(path: Path, options: Options) -> RunFolder:
    path.mkdir()
    (path / "options.json").write_text(options.model_dump_json())
    return RunFolder(path)


def train_here(run: RunFolder) -> RunState:
    """Train in this process, for tests of what a run leaves behind: a process of its own loads torch anew."""
    return attempt(run.path, on_progress=lambda step, total_steps, losses: None, should_stop=lambda: False)


def train(run: RunFolder, *, within_s: float | None = None, file_bytes: int | None = None) -> tuple[int, str]:
    """Train in a process of its own, which may write files of ``file_bytes``; its exit status, and what it printed."""
    with training(run, file_bytes=file_bytes) as process:
        return process.wait(within_s), process.printed


def kill_after(run: RunFolder, steps_done: int) -> None:
    """Train in a process of its own, and kill -9 it once it has done so many steps."""
    with training(run) as killed:
        eventually(lambda: len(steps(run)) >= steps_done, every_s=0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    eventually(lambda: not is_locked(run.path))  # by those that read its pictures


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
