"""Batches of pictures through a network, so that copying one in, computing one and copying one out go on at once."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.pictures import Picture
from models.serving.accelerator import Accelerator
from models.serving.engine import Pending, Pictures

SLOTS = 2  # batches under way: of more, all but two would wait

Results = tuple[Pictures, NDArray[np.bool_]]
OnDevice = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


def bucket(count: int) -> int:
    """The size of the batch in which so many pictures run: the next power of two, so that there are few sizes."""
    return 1 << (count - 1).bit_length()


class PicturePipeline:
    """Feeds pictures to a network on an accelerator, and fetches what it makes of them. For one thread.

    Args:
        network: on the device, from (N, H, W, 3) uint8 to pictures of the same shape and (N,) bool: whether all
            numbers that a picture was made of are finite. It waits for nothing, and what it returns may lie where
            the next call puts its own results. The pictures at the end of a batch may be anything.
    """

    def __init__(self, network: OnDevice, accelerator: Accelerator) -> None:
        self._network = network
        self._accelerator = accelerator
        self._slots = [_Slot(accelerator) for _ in range(SLOTS)]
        self._turn = 0

    def submit(self, pictures: Sequence[Picture]) -> Pending[Results]:
        """Start a batch of N pictures (H, W, 3) of one shape. If two are under way, this waits for the first of them.

        The results are N pictures, and (N,) whether all numbers that a picture was made of are finite.

        Raises:
            RuntimeError: the device has no memory for it. Batches before it are not affected.
        """
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % SLOTS
        return slot.submit(pictures, self._network)


class _Slot:
    """Buffers for one batch, used again and again, of twice the size when one does not fit."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._pending: Pending[Results] | None = None
        self._nbytes = 0

    def submit(self, pictures: Sequence[Picture], network: OnDevice) -> Pending[Results]:
        if self._pending is not None:
            self._pending.result()  # the buffers are its own until then
            self._pending = None
        count, shape = len(pictures), pictures[0].shape
        padded = bucket(count)
        each = pictures[0].size
        size = count * each
        self._fit(padded * each)
        for place, picture in zip(self._host_in[:size].view(count, *shape).numpy(), pictures, strict=True):
            place[...] = picture

        gpu = self._accelerator
        host_in, device_in = self._host_in[:size], self._device_in[:size]
        host_out, device_out = self._host_out[: size + count], self._device_out[: size + count]
        x = self._device_in[: padded * each].view(padded, *shape)

        def copy_in() -> None:
            device_in.copy_(host_in, non_blocking=True)

        def compute() -> None:
            made, finite = network(x)
            device_out[:size].view(count, *shape).copy_(made[:count])
            device_out[size:].copy_(finite[:count])

        def copy_out() -> None:
            host_out.copy_(device_out, non_blocking=True)

        gpu.copy_in.launch(copy_in)
        copied_in = gpu.copy_in.record()
        gpu.compute.wait(copied_in)
        try:
            gpu.compute.launch(compute)
        except BaseException:
            copied_in.synchronize()  # before the buffers are used again
            gpu.compute.record().synchronize()
            raise
        gpu.copy_out.wait(gpu.compute.record())
        gpu.copy_out.launch(copy_out)
        copied_out = gpu.copy_out.record()

        @functools.cache
        def read() -> Results:
            copied_out.synchronize()
            results = host_out.numpy().copy()
            return results[:size].reshape(count, *shape), results[size:].astype(np.bool_)

        self._pending = Pending(copied_out.query, read)
        return self._pending

    def _fit(self, nbytes: int) -> None:
        if nbytes <= self._nbytes:
            return
        self._nbytes = 0  # until all are there: the device may be out of memory
        new_nbytes = bucket(nbytes)
        self._host_in, self._device_in = self._accelerator.buffers(new_nbytes)
        self._host_out, self._device_out = self._accelerator.buffers(2 * new_nbytes)  # pictures, and a byte for each
        self._nbytes = new_nbytes
