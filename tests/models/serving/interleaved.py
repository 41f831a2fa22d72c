"""An accelerator that does what was launched late and in any order that its streams and events allow."""

import random
from collections import deque
from collections.abc import Callable

import torch

Work = Callable[[], None]


class Interleaved:
    """Work is done when somebody waits for it and, to a degree, at any other time.

    Args:
        seed: of the order; None: nothing is done before it is waited for, nor anything that this does not need.

    Attributes:
        log: the names of the streams, in the order in which work on them was done.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.device = torch.device("cpu")
        self.random = None if seed is None else random.Random(seed)
        self.log: list[str] = []
        self.copy_in, self.compute, self.copy_out = (_Stream(self, name) for name in ("in", "compute", "out"))

    def buffers(self, nbytes: int) -> tuple[torch.Tensor, torch.Tensor]:
        host, on_device = (torch.randint(256, (nbytes,), dtype=torch.uint8) for _ in range(2))
        return host, on_device

    def record(self, work: Work) -> "_Graph":
        return _Graph(work)

    def some_work(self) -> None:
        """What a device may have done by now."""
        if self.random is not None:
            for _ in range(self.random.randrange(4)):
                ready = [stream for stream in (self.copy_in, self.compute, self.copy_out) if stream.can_go_on]
                if ready:
                    self.random.choice(ready).go_on()


class _Graph:
    def __init__(self, work: Work) -> None:
        self.replay = work
        self.released = False

    def release(self) -> None:
        self.released = True


class _Event:
    def __init__(self, stream: "_Stream") -> None:
        self.stream = stream
        self.happened = False

    def query(self) -> bool:
        return self.happened

    def synchronize(self) -> None:
        while not self.happened:
            self.stream.device.some_work()
            if not self.happened:
                self.stream.go_on()


class _Stream:
    def __init__(self, device: Interleaved, name: str) -> None:
        self.device = device
        self.name = name
        self.queue: deque[Work | _Event | tuple[_Event]] = deque()  # work, events to reach, events to wait for

    @property
    def can_go_on(self) -> bool:
        return bool(self.queue) and not (isinstance(self.queue[0], tuple) and not self.queue[0][0].happened)

    def launch(self, work: Work) -> None:
        self.queue.append(work)
        self.device.some_work()

    def record(self) -> _Event:
        event = _Event(self)
        self.queue.append(event)
        return event

    def wait(self, event: _Event) -> None:
        self.queue.append((event,))

    def go_on(self) -> None:
        """Do the next thing, and before it what it has to wait for."""
        if isinstance(self.queue[0], tuple):
            self.queue[0][0].synchronize()
        first = self.queue.popleft()
        if isinstance(first, _Event):
            first.happened = True
        elif not isinstance(first, tuple):
            self.device.log.append(self.name)
            first()
