"""Batches read from a data set, on an accelerator by processes that read ahead of the training."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from models.datasets import DatasetError
from models.training import distributed

PROCESSES = 4  # that keep an accelerator busy, of each training process; as many as the papers' code has


def default_processes(device: torch.device) -> int:
    """How many processes read for a training on this device: on a CPU none, which would take its cores."""
    if device.type == "cpu":
        return 0
    return max(1, min(PROCESSES, (os.cpu_count() or 1) // distributed.world_size()))


def batches(
    pictures: Dataset[Any], batch_size: int, first_step: int, last_step: int, *, processes: int
) -> Iterator[Any]:
    """This process's share of the batches for the steps after ``first_step`` up to and including ``last_step``.

    What they are does not depend on ``processes``, as long as an item depends on nothing but its number.

    Raises:
        DatasetError: a picture is missing or damaged.
        ValueError: the batch cannot be shared out evenly among the processes that train.
    """
    shares = distributed.Shares(batch_size, first_step, last_step)
    loader = DataLoader(pictures, batch_sampler=shares, num_workers=processes, worker_init_fn=_begin)
    try:
        yield from loader
    except DatasetError as error:
        # From another process comes a whole traceback as the message, whose last line is what this one would have said.
        raise DatasetError(str(error).strip().rsplit("DatasetError: ", 1)[-1]) from error


def _begin(number: int) -> None:
    """What a reading process does first: it ends with the one it reads for, and by no signal that is meant for that."""
    distributed.die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for meant_for_another in (signal.SIGINT, signal.SIGHUP):
        signal.signal(meant_for_another, signal.SIG_IGN)
