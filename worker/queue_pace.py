"""How fast the inference queue moves, learnt from the ends of its jobs: what an owner of jobs will have to wait for."""

import time
from collections import deque
from dataclasses import dataclass

LEAST_ENDS = 16  # before anything is said
ENDS = 64  # that are remembered: some batches
FORGET_S = 60.0  # after which what was learnt is out of date: other models are in use, or other workers


@dataclass(frozen=True)
class _End:
    interval_s: float  # since the end of the job before
    owner: str | None
    work: int


class QueuePace:
    """The mean time between the ends of two jobs while others wait, whichever worker did them, and whose they were."""

    def __init__(self) -> None:
        self._ends: deque[_End] = deque(maxlen=ENDS)
        self._last_end: float | None = None  # None: nothing waited at that time

    def ended(self, *, waiting: int, owner: str | None = None, work: int = 1) -> None:
        """Take note of the end of a job.

        Args:
            waiting: jobs in the queue at that time. Where there are none, the next end says nothing.
            work: that the job was, as of :class:`worker.contract.Task`.
        """
        now = time.monotonic()
        if self._last_end is not None:
            if now - self._last_end > FORGET_S:
                self._ends.clear()
            else:
                self._ends.append(_End(now - self._last_end, owner, work))
        self._last_end = now if waiting else None

    def seconds_for(self, *, work: float) -> float:
        """How long this much work will take; 0 if that is not known."""
        return work * self._mean_s(sum(end.work for end in self._ends))

    def seconds_for_jobs(self, jobs: float) -> float:
        """How long this many jobs will take, should they be like the last ones; 0 if that is not known."""
        return jobs * self._mean_s(len(self._ends))

    def share(self, owner: str | None) -> float:
        """The share of this owner in the work of late, above 0. Of a newcomer, that of each if all had the same."""
        own = sum(end.work for end in self._ends if end.owner == owner)
        if own:
            return own / sum(end.work for end in self._ends)
        return 1 / (1 + len({end.owner for end in self._ends}))

    def _mean_s(self, parts: int) -> float:
        if len(self._ends) < LEAST_ENDS:
            return 0.0
        return sum(end.interval_s for end in self._ends) / parts
