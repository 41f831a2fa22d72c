"""Batches read from a data set, on an accelerator by processes that read ahead of the training."""

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

PROCESSES = 4  # that keep an accelerator busy, of each training process; as many as the papers' code has


def default_processes(device: torch.device) -> int:
    """How many processes read for a training on this device: on a CPU none, which would take its cores."""
    if device.type == "cpu":
        return 0
    return max(1, min(PROCESSES, (os.cpu_count() or 1) // distributed.world_size()))


class _Answers(Dataset[Any]):
    """A data set's items, each of them or what is wrong with it.

    An exception that came out of a reading process would keep all of those from ending: the one that torch raises here
    in its stead is part of a reference cycle, and so are they.
    """

    def __init__(self, pictures: Dataset[Any]) -> None:
        self._pictures = pictures

    def __getitem__(self, n: int) -> Any:
        try:
            return self._pictures[n]
        except DatasetError as error:
            return error

    @staticmethod
    def collate(answers: list[Any]) -> Any:
        """A batch, or what is wrong with it."""
        wrong = [answer for answer in answers if isinstance(answer, DatasetError)]
        return wrong[0] if wrong else default_collate(answers)


def batches(
    pictures: Dataset[Any], batch_size: int, first_step: int, last_step: int, *, processes: int
) -> Generator[Any]:
    """This process's share of the batches for the steps after ``first_step`` up to and including ``last_step``.

    What they are does not depend on ``processes``, as long as an item depends on nothing but its number.

    Raises:
        DatasetError: a picture is missing or damaged.
        UnevenBatch: it cannot be shared out among the processes that train.
    """
    shares = distributed.Shares(batch_size, first_step, last_step)
    begin = functools.partial(_begin, os.getpid())
    for batch in DataLoader(
        _Answers(pictures),
        batch_sampler=shares,
        num_workers=processes,
        collate_fn=_Answers.collate,
        worker_init_fn=begin,
    ):
        if isinstance(batch, DatasetError):
            raise batch
        yield batch


def _begin(training: int, number: int) -> None:
    """What a reading process does first: it ends with the process that it reads for.

    A signal that a whole group of processes gets is meant for that one, which may need a few pictures more before it
    has come to its end; without them it would fail instead.
    """
    die_with_parent(training)
    signal.signal(signal.SIGTERM, _linger)
    for meant_for_another in (signal.SIGINT, signal.SIGHUP):
        signal.signal(meant_for_another, signal.SIG_IGN)


def _linger(signum: int, frame: FrameType | None) -> None:
    signal.alarm(STOP_TIMEOUT_S)  # ends this process, if nothing else has by then
