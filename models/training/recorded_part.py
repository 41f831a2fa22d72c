"""A part of a training step that a GPU does in one go, as recorded; bit by bit, small work keeps it waiting."""

import logging
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from models.serving.accelerator import Accelerator, Graph, cuda_device
from models.training import distributed

WARM_UP = 3  # calls before the recording, by which all is set up that is set up only once

log = logging.getLogger("doppel.training")

T = TypeVar("T")


def recorder(device: torch.device, accelerator: Accelerator | None) -> Accelerator | None:
    """What records the steps of a run: the accelerator if there is one, else the GPU, if that is the device.

    To be called before anything is on the device, because a GPU is then used by way of another stream.

    Returns:
        None where there is neither, and where several processes train together, which wait for each other.
    """
    if distributed.world_size() > 1:
        return None
    if accelerator is None and device.type == "cuda":
        return cuda_device(str(device))
    return accelerator


class RecordedPart(Generic[T]):
    """Calls a function of tensors that changes networks in place, and after some calls replays it.

    What it returns lies where the next call puts its own results. If it can't be recorded, or if the shapes change, it
    is called each time.

    Args:
        part: a method that waits for nothing, and does the same whenever it is called, but for what tensors hold. It is
            held weakly: what its owner has on a device is to be freed when nobody else holds the owner.
        accelerator: None: the part is always called.
    """

    def __init__(self, part: Callable[..., T], accelerator: Accelerator | None) -> None:
        self._method = weakref.WeakMethod(part)
        self._accelerator = accelerator
        self._calls = 0
        self._graph: Graph | None = None
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._result: list[T] = []

    def __call__(self, *inputs: torch.Tensor) -> T:
        self._calls += 1
        if self._graph is None and self._accelerator is not None and self._calls > WARM_UP:
            self._record(self._accelerator, inputs)
        if self._graph is None or any(x.shape != kept.shape for x, kept in zip(inputs, self._inputs, strict=True)):
            part = self._method()
            assert part is not None, "its owner calls it"
            return part(*inputs)
        for kept, x in zip(self._inputs, inputs, strict=True):
            kept.copy_(x)
        self._graph.replay()
        return self._result[0]

    def _record(self, accelerator: Accelerator, inputs: tuple[torch.Tensor, ...]) -> None:
        self._inputs = kept = tuple(torch.empty_like(x).copy_(x) for x in inputs)
        method, result = self._method, self._result

        def work() -> None:
            part = method()
            assert part is not None, "its owner calls it"
            result[:] = [part(*kept)]

        try:
            self._graph = accelerator.record(work)
        except RuntimeError as error:
            self._accelerator = None
            log.warning("the training step is not recorded, which costs speed alone: %s", str(error).splitlines()[0])
