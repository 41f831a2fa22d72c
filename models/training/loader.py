"""Batches from a data set, on an accelerator read ahead by processes of their own."""

import functools
import os
import signal
from collections.abc import Generator
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from models.errors import DatasetError
from models.process import die_with_parent
from models.training import distributed
from models.training.launch import STOP_TIMEOUT_S

PROCESSES = 4  # for each training process, as in the papers' code; they keep an accelerator busy


def default_processes(device: torch.device) -> int:
    """How many processes read pictures for a training on this device; none on a CPU, whose cores it needs itself."""
    if device.type == "cpu":
        return 0
    return max(1, min(PROCESSES, (os.cpu_count() or 1) // distributed.world_size()))


class _ErrorsAsItems(Dataset[Any]):
    """A data set that returns a :class:`DatasetError` instead of raising it.

    Torch re-raises an exception of a reading process with a reference cycle, which would keep those processes alive.
    """

    def __init__(self, pictures: Dataset[Any]) -> None:
        self._pictures = pictures

    def __getitem__(self, n: int) -> Any:
        try:
            return self._pictures[n]
        except DatasetError as error:
            return error

    @staticmethod
    def collate(items: list[Any]) -> Any:
        """A batch, or the first error among its items."""
        errors = [item for item in items if isinstance(item, DatasetError)]
        return errors[0] if errors else default_collate(items)


def batches(
    pictures: Dataset[Any], batch_size: int, first_step: int, last_step: int, *, processes: int
) -> Generator[Any]:
    """This process's share of the batches for the steps after ``first_step``, up to and including ``last_step``.

    The batches do not depend on ``processes``, as long as an item depends on its number alone.

    Raises:
        DatasetError: a picture is missing or damaged.
        UnevenBatch: a batch cannot be divided evenly among the training processes.
    """
    shares = distributed.Shares(batch_size, first_step, last_step)
    for batch in DataLoader(
        _ErrorsAsItems(pictures),
        batch_sampler=shares,
        num_workers=processes,
        collate_fn=_ErrorsAsItems.collate,
        worker_init_fn=functools.partial(_start_reading, os.getpid()),
    ):
        if isinstance(batch, DatasetError):
            raise batch
        yield batch


def _start_reading(training: int, number: int) -> None:
    """Set up a reading process: it ends with the training it reads for, and not before.

    Signals sent to the whole process group are meant for the training. It may need a few more pictures before it ends,
    and would fail without them.
    """
    die_with_parent(training)
    signal.signal(signal.SIGTERM, _end_in_time)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)


def _end_in_time(signum: int, frame: FrameType | None) -> None:
    signal.alarm(STOP_TIMEOUT_S)  # its default action ends this process, if nothing has done so by then
