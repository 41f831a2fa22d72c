"""One of the processes that train together: ``torchrun tests/models/spread.py OPTIONS STEPS`` prints the losses.

In float64: in float32 a GAN makes the last digit's rounding, which is another when sums are formed in another order,
ten times larger at each step.
"""

import json
import sys
from pathlib import Path

import torch

from models.store.options import read_options
from models.training import distributed
from models.training.plan import plan


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    distributed.join()
    planned = plan(read_options(Path(sys.argv[1]).read_text()))
    for step, batch in enumerate(planned.batches(0, int(sys.argv[2]))):
        pictures = [part.double() if part.is_floating_point() else part for part in batch]
        whole = type(batch)(*pictures) if hasattr(batch, "_fields") else tuple(pictures)
        losses = {name: loss.item() for name, loss in planned.trainer.step(whole, progress=step).items()}
        losses = distributed.mean(losses)
        if distributed.rank() == 0:
            print(json.dumps(losses), flush=True)
    distributed.leave()


if __name__ == "__main__":
    main()
