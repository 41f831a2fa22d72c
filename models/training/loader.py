"""Batches from a data set, on an accelerator read ahead by processes of their own."""

import functools
import os
import signal
from collections.abc import Generator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from models.cores import usable_cores
from models.errors import DatasetError
from models.process import die_with_parent
from models.training import distributed
from models.training.launch import STOP_TIMEOUT_S
from models.training.reader import PictureReader

PROCESSES = 8  # for each training process; they keep an accelerator busy


def default_processes(device: torch.device) -> int:
    """How many processes read pictures for a training on this device; none on a CPU, whose cores it needs itself."""
    if device.type == "cpu":
        return 0
    return max(1, min(PROCESSES, usable_cores() // distributed.world_size() - 1))


class Pictures(Protocol):
    """A data set whose items depend on their number alone."""

    reader: PictureReader

    def __getitem__(self, n: int) -> Any: ...


@dataclass(frozen=True)
class _Read:
    """What a reading process sends: an item or a batch, or why there is none, and the files that it passed over."""

    value: Any
    error: DatasetError | None
    unreadable: dict[str, str]

    def pin_memory(self) -> "_Read":
        """The same with its tensors in memory from which a GPU copies by itself. The data loader calls it."""
        parts = None if self.value is None else [part.pin_memory() for part in self.value]
        return replace(self, value=parts and _like(self.value, parts))


def _like(batch: Any, parts: list[torch.Tensor]) -> Any:
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


class _Reading(Dataset[_Read]):
    """A data set that returns a :class:`DatasetError` instead of raising it, and tells of unreadable files.

    Torch re-raises an exception of a reading process with a reference cycle, which would keep those processes alive.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __getitem__(self, n: int) -> _Read:
        try:
            value, error = self._pictures[n], None
        except DatasetError as failure:
            value, error = None, failure
        return _Read(value, error, dict(self._pictures.reader.unreadable))

    @staticmethod
    def collate(items: list[_Read]) -> _Read:
        """A batch, or the first error among its items."""
        error = next((item.error for item in items if item.error is not None), None)
        batch = None if error else default_collate([item.value for item in items])
        return _Read(batch, error, {name: why for item in items for name, why in item.unreadable.items()})


def batches(
    pictures: Pictures, batch_size: int, first_step: int, last_step: int, *, processes: int, pinned: bool = False
) -> Generator[Any]:
    """This process's share of the batches for the steps after ``first_step``, up to and including ``last_step``.

    The batches do not depend on ``processes``, as long as an item depends on its number alone.

    Args:
        pinned: whether they lie in memory from which a GPU copies by itself.

    Raises:
        DatasetError: a file can't be opened, or none of a domain is a picture.
        UnevenBatch: a batch cannot be divided evenly among the training processes.
    """
    shares = distributed.Shares(batch_size, first_step, last_step)
    for read in DataLoader(
        _Reading(pictures),
        batch_sampler=shares,
        num_workers=processes,
        pin_memory=pinned,
        collate_fn=_Reading.collate,
        worker_init_fn=functools.partial(_start_reading, os.getpid()),
    ):
        pictures.reader.unreadable.update(read.unreadable)  # the reading processes have readers of their own
        if read.error is not None:
            raise read.error
        yield read.value


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
