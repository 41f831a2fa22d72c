"""Runs as their processes would write them, for views that only look at them."""

import numpy as np

from app.settings import Settings
from models.store.options import CycleGANOptions
from models.store.run_folder import RunFolder
from models.store.run_status import RunState, RunStatus, now
from models.store.runs import RunStore
from models.store.samples import SampleRow


def rows(step: int) -> list[SampleRow]:
    """A small sheet whose colours tell the step."""
    pictures = [np.full((16, 16, 3), (step, 0, 0), np.uint8)] * 2
    return [SampleRow("A", "input", pictures), SampleRow("A → B", "output", pictures, "A")]


def written(
    settings: Settings, dataset: str, *, steps: list[int], loss: float = 1.0, state: RunState = RunState.SUCCEEDED
) -> RunFolder:
    """A run of 100 steps with this loss and a sample picture at each of ``steps``."""
    moment = now()
    status = RunStatus(status=state, dataset=dataset, family="cyclegan", created_at=moment, updated_at=moment)
    status.attempts = 1
    status.step, status.total_steps = steps[-1] if steps else 0, 100
    store = RunStore(settings.data_dir)
    folder = store.folder(store.create(CycleGANOptions(dataset=settings.data_dir / "datasets" / dataset), status))
    for step in steps:
        folder.append_metrics({"step": step, "seconds": step, "loss_one": loss})
        folder.save_sample(step, rows(step))
    return folder
