"""The losses of a training, alone or as one of several processes that train together.

In float64: in float32 a GAN makes the last digit's rounding, which is another when sums are formed in another order,
ten times larger at each step.
"""

import json
from pathlib import Path

import torch

from models.store.options import read_options
from models.training import distributed
from models.training.plan import plan


def losses(options: Path, steps: int) -> list[dict[str, float]]:
    """Train for so many steps; the losses of each, averaged over all processes."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        planned = plan(read_options(options.read_text()))
        planned.trainer.networks.double()  # buffers too
        found = []
        for step, batch in enumerate(planned.batches(0, steps)):
            pictures = [part.double() if part.is_floating_point() else part for part in batch]
            whole = type(batch)(*pictures) if hasattr(batch, "_fields") else tuple(pictures)
            terms = planned.trainer.step(whole, progress=step)
            found.append(distributed.mean({name: loss.item() for name, loss in terms.items()}))
        return found
    finally:
        torch.set_default_dtype(usual)


def print_losses(steps: int, *options: Path) -> None:
    """As one of several processes: the first prints a line for each file of options, the losses of each step."""
    torch.set_num_threads(1)
    distributed.join()
    for path in options:
        found = losses(path, steps)
        if distributed.rank() == 0:
            print(json.dumps(found), flush=True)
    distributed.leave()
