"""Data-parallel training: ``torchrun`` starts several processes, each trains on its share of every batch.

Without torchrun every function here does nothing.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from models import gpu_layers
from models.errors import UnevenBatch

T = TypeVar("T")

PATIENCE = timedelta(hours=2)


def join(device: str = "auto") -> None:
    """Connect to the other processes, if ``torchrun`` started several.

    Args:
        device: of the run. On CPUs the processes communicate by gloo, on GPUs by NCCL.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        on_gpus = torch.cuda.is_available() and device not in ("cpu", "mps")
        if on_gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # The first process measures quality and writes checkpoints while the others wait for it.
        distributed.init_process_group("nccl" if on_gpus else "gloo", timeout=PATIENCE)


def leave() -> None:
    """Disconnect from the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """This process's number. Process 0 alone writes to the run folder."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def local_device(chosen: torch.device) -> torch.device:
    """This process's device: of several GPUs, the one with its number on this machine."""
    if chosen.type == "cuda" and world_size() > 1:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return chosen


class Shares:
    """A batch sampler: this process's items of each batch, for the steps after ``first_step`` up to ``last_step``.

    Args:
        batch_size: items in a batch, of all processes together.

    Raises:
        UnevenBatch: it is not a multiple of the number of processes.
    """

    def __init__(self, batch_size: int, first_step: int, last_step: int) -> None:
        if batch_size % world_size():
            raise UnevenBatch(f"a batch of {batch_size} cannot be divided evenly among {world_size()} processes")
        self._batch_size = batch_size
        self._steps = range(first_step, last_step)

    def __iter__(self) -> Iterator[list[int]]:
        share = self._batch_size // world_size()
        for step in self._steps:
            first = step * self._batch_size + rank() * share
            yield list(range(first, first + share))


def in_steps(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as training steps call it: by the fastest layers of the device, and shared."""
    alone = world_size() == 1  # several wait for the gradients of all parameters
    return shared(gpu_layers.quickest(network, device, unbiased=alone))


def shared(network: nn.Module) -> nn.Module:
    """A wrapper of the network whose gradients are averaged over all processes in ``backward``."""
    if world_size() == 1:
        return network
    # Buffers change in every process alike, and each backward follows several forward passes.
    return DistributedDataParallel(network, broadcast_buffers=False)


def mean(values: dict[str, float]) -> dict[str, float]:
    """Each value's mean over all processes."""
    if world_size() == 1:
        return values
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return dict(zip(values, (total / world_size()).tolist(), strict=True))


def agreed(value: T) -> T:
    """Process 0's value."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def gathered(x: torch.Tensor) -> torch.Tensor:
    """The tensors (N, ...) of all processes, concatenated in the order of the processes."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world_size())]
    distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)
