"""How fast the inference queue moves, learnt from the ends of its jobs, and who would wait for nothing."""

import math
import time
from collections import deque

from worker.errors import QueueFull

LEAST_ENDS = 16  # before anything is said
INTERVALS = 64  # that are remembered: some batches
FORGET_S = 60.0  # after which what was learnt is out of date: other models are in use, or other workers


class QueuePace:
    """The mean time between the ends of two jobs while others wait, whichever worker did them."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._last_end: float | None = None  # None: nothing waited at that time

    def ended(self, *, waiting: int) -> None:
        """Take note of the end of a job.

        Args:
            waiting: jobs in the queue at that time. Where there are none, the next end says nothing.
        """
        now = time.monotonic()
        if self._last_end is not None:
            if now - self._last_end > FORGET_S:
                self._intervals.clear()
            else:
                self._intervals.append(now - self._last_end)
        self._last_end = now if waiting else None

    def seconds_for(self, jobs: int) -> float:
        """How long this many jobs will take; 0 if that is not known."""
        if len(self._intervals) < LEAST_ENDS:
            return 0.0
        return jobs * sum(self._intervals) / len(self._intervals)

    def require(self, wait_s: float, *, waiting: int) -> None:
        """Refuse a request that would wait for nothing.

        Args:
            wait_s: how long it would wait for its job.
            waiting: jobs that are before it.

        Raises:
            QueueFull: its job would not begin within that time. ``retry_after_s`` says when one would.
        """
        needed_s = self.seconds_for(waiting)
        if needed_s > wait_s:
            raise QueueFull(
                f"{waiting} pictures are waiting, which takes about {needed_s:.0f} s; this request waits {wait_s:g} s. "
                "Send it with wait=0 to have it done as a job.",
                retry_after_s=max(1, math.ceil(needed_s - wait_s)),
            )
