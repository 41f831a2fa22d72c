"""What the inference queue still has room for: jobs, and the memory that their pictures take in Redis."""

import time
from collections.abc import Sequence

from worker.errors import QueueFull

CAPACITY_AGE_S = 0.2  # how old a look at the capacity may be
MEMORY_SHARE = 0.9  # of Redis' maxmemory, for pictures; the rest is for bookkeeping


class Capacity:
    """What the queue still has room for, by a look at Redis that is at most ``CAPACITY_AGE_S`` old.

    Other API processes fill the queue too: it may exceed ``limit`` by what they accept between two looks.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen_at = 0.0
        self.waiting = 0  # jobs
        self._used = 0  # bytes
        self._memory = 0  # bytes; 0: Redis sets no limit

    def needs_look(self, nbytes: int) -> bool:
        """Whether to look at Redis before a job is counted: jobs may have ended since the last time."""
        return time.monotonic() - self._seen_at > CAPACITY_AGE_S or self._why_full(nbytes) is not None

    def count(self, nbytes: int) -> None:
        """Count one more job of ``nbytes``.

        Raises:
            QueueFull: there is no room for it.
        """
        if why := self._why_full(nbytes):
            raise QueueFull(why)
        self.waiting += 1
        self._used += nbytes

    def ended(self) -> None:
        """Take note of the end of a job, so that one that waits begins."""
        self.waiting = max(0, self.waiting - 1)

    def lacks(self, nbytes: int) -> int:
        """How many bytes more would have to be free for one more job of ``nbytes``; 0: there is room."""
        return max(0, self._used + nbytes - int(MEMORY_SHARE * self._memory)) if self._memory else 0

    def seen(self, waiting: int, used: int, memory: int, claims: Sequence[bytes]) -> None:
        """Take note of what a look at Redis found.

        Args:
            waiting: jobs in the queue.
            used: bytes that Redis uses.
            memory: bytes that it may use; 0: as many as there are.
            claims: bytes of results of long jobs, which are not in memory yet.
        """
        self.waiting = waiting
        self._used = used + sum(int(claim) for claim in claims if claim.isdigit())
        self._memory = memory
        self._seen_at = time.monotonic()

    def _why_full(self, nbytes: int) -> str | None:
        if self.waiting >= self._limit:
            return f"{self.waiting} pictures are waiting already; no more than {self._limit} are accepted."
        if self.lacks(nbytes):
            return f"The pictures that are waiting or kept fill the {self._memory >> 20} MB set aside for them."
        return None
