"""How fast the inference queue moves, learnt from the ends of its jobs: what an owner of jobs will have to wait for."""

import time
from collections import deque
from dataclasses import dataclass

LEAST_ENDS = 2  # before they say more than how long a job took alone
ENDS = 64  # that are remembered: some batches
FORGET_S = 60.0  # after which what was learnt is out of date: other models are in use, or other workers


@dataclass(frozen=True)
class Ended:
    """A job that has ended.

    Attributes:
        owner: as of ``JobMeta``.
        work: as of ``Task``.
        took_s: how long its batch took; 0: not known.
    """

    owner: str | None = None
    work: int = 1
    took_s: float = 0.0


class QueuePace:
    """The mean time between the ends of two jobs while others wait, whichever worker did them, and whose they were."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, Ended]] = deque(maxlen=ENDS)  # with the seconds since the end before
        self._last_end: float | None = None  # None: nothing waited at that time
        self._latest = Ended()

    def ended(self, job: Ended, *, waiting: int) -> None:
        """Take note of the end of a job.

        Args:
            waiting: jobs in the queue at that time. Where there are none, the next end says nothing about the pace.
        """
        now = time.monotonic()
        if self._last_end is not None:
            if now - self._last_end > FORGET_S:
                self._ends.clear()
            else:
                self._ends.append((now - self._last_end, job))
        self._last_end = now if waiting else None
        self._latest = job

    def seconds_for(self, *, work: float) -> float:
        """How long this much work will take; 0 if that is not known."""
        if len(self._ends) < LEAST_ENDS:
            return work * self._latest.took_s / self._latest.work
        return work * self._seconds / sum(job.work for _, job in self._ends)

    def seconds_for_jobs(self, jobs: float) -> float:
        """How long this many jobs will take, should they be like the last ones; 0 if that is not known."""
        if len(self._ends) < LEAST_ENDS:
            return jobs * self._latest.took_s
        return jobs * self._seconds / len(self._ends)

    def share(self, owner: str | None) -> float:
        """The share of this owner in the work of late, above 0. Of a newcomer, that of each if all had the same."""
        own = sum(job.work for _, job in self._ends if job.owner == owner)
        if own:
            return own / sum(job.work for _, job in self._ends)
        return 1 / (1 + len({job.owner for _, job in self._ends}))

    @property
    def _seconds(self) -> float:
        return sum(interval_s for interval_s, _ in self._ends)
