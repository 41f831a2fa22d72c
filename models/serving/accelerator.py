"""The few things that pictures on a GPU need of it: streams, events, pinned memory, graphs.

``CpuDevice`` does the same one after the other, so that tests without a GPU show what schedules by these.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Protocol

import torch

Work = Callable[[], None]


class Event(Protocol):
    """A point in a stream's work."""

    def query(self) -> bool:
        """Whether all that was launched before it is done."""

    def synchronize(self) -> None:
        """Wait until it is."""


class Stream(Protocol):
    """Work that is done in the order in which it was launched, beside that of other streams."""

    def launch(self, work: Work) -> None:
        """Have this done. It may not be done yet when this returns."""

    def record(self) -> Event:
        """The point after all that was launched so far."""

    def wait(self, event: Event) -> None:
        """Do nothing that is launched from now on before the event."""


class Graph(Protocol):
    """Recorded work, which is launched as one."""

    def replay(self) -> None:
        """Do it once more, on the memory that it was recorded with."""

    def release(self) -> None:
        """Free what it holds, once it is no longer running."""


class Accelerator(Protocol):
    """A device and its streams. One thread uses it at a time."""

    device: torch.device
    copy_in: Stream
    compute: Stream
    copy_out: Stream

    def buffers(self, nbytes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Two buffers of bytes, (nbytes,) uint8: on the host, where copies run beside all else, and on the device."""

    def record(self, work: Work) -> Graph:
        """Record work that was done once before, so that nothing is set up any more. It is not done by this.

        Raises:
            RuntimeError: it does something that can't be recorded.
        """


class CpuDevice:
    """Does everything at once, in the order of the calls."""

    copy_in: Stream
    compute: Stream
    copy_out: Stream

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.copy_in, self.compute, self.copy_out = (_Immediate() for _ in range(3))

    def buffers(self, nbytes: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty(nbytes, dtype=torch.uint8), torch.empty(nbytes, dtype=torch.uint8)

    def record(self, work: Work) -> Graph:
        return _Repeated(work)


class _Immediate:
    def launch(self, work: Work) -> None:
        work()

    def record(self) -> Event:
        return _Past()

    def wait(self, event: Event) -> None:
        pass


class _Past:
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


class _Repeated:
    def __init__(self, work: Work) -> None:
        self.replay = work

    def release(self) -> None:
        pass


def cuda_device(name: str) -> "CudaDevice":
    """The one of this process: models take turns on its streams, and their graphs share memory."""
    index = torch.device(name).index
    return _cuda_device(torch.cuda.current_device() if index is None else index)


@functools.cache
def _cuda_device(index: int) -> "CudaDevice":
    return CudaDevice(index)


class CudaDevice:
    """A GPU by way of CUDA.

    From now on, all that the calling thread does with torch goes to the compute stream: graphs can't be recorded on
    CUDA's default stream, and so whatever a model does is in order with its graphs.
    """

    copy_in: Stream
    compute: Stream
    copy_out: Stream

    def __init__(self, index: int) -> None:
        self.device = torch.device("cuda", index)
        torch.cuda.synchronize(self.device)
        self._stream, copy_in, copy_out = (torch.cuda.Stream(self.device) for _ in range(3))  # type: ignore[no-untyped-call]
        torch.cuda.set_stream(self._stream)
        self.copy_in, self.compute, self.copy_out = map(_CudaStream, (copy_in, self._stream, copy_out))
        self._open_pool()

    def buffers(self, nbytes: int) -> tuple[torch.Tensor, torch.Tensor]:
        on_device = torch.empty(nbytes, dtype=torch.uint8, device=self.device)
        torch.cuda.current_stream(self.device).synchronize()  # its memory may have been in use there until just now
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True), on_device

    def record(self, work: Work) -> Graph:
        graph = torch.cuda.CUDAGraph()
        try:
            self._capture(graph, work)
        except BaseException:
            self._open_pool()  # the old one may still be in the middle of it
            raise
        return _CudaGraph(graph, self._stream)

    def _capture(self, graph: torch.cuda.CUDAGraph, work: Work) -> None:
        with (
            torch.cuda.stream(self._stream),  # restores the stream, which a capture that fails does not
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            work()

    def _open_pool(self) -> None:
        """Memory for all graphs: they are replayed one after the other, and their results lie elsewhere."""
        self._pool = torch.cuda.graph_pool_handle()
        # A pool is gone with the last graph in it, and does not open again.
        self._first = torch.cuda.CUDAGraph()

        def some_work() -> None:
            torch.zeros(1, device=self.device)

        with contextlib.suppress(RuntimeError):  # then the others can't be recorded either, which is said there
            self._capture(self._first, some_work)


class _CudaStream:
    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream

    def launch(self, work: Work) -> None:
        with torch.cuda.stream(self._stream):
            work()

    def record(self) -> Event:
        # Whoever waits for it leaves the core to others.
        event: torch.cuda.Event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return event

    def wait(self, event: Event) -> None:
        assert isinstance(event, torch.cuda.Event)
        self._stream.wait_event(event)


class _CudaGraph:
    def __init__(self, graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream) -> None:
        self._graph = graph
        self._stream = stream

    def replay(self) -> None:
        self._graph.replay()

    def release(self) -> None:
        self._stream.synchronize()
        self._graph.reset()
