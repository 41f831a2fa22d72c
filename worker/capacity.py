"""What the inference queue has room and time for: jobs, and the memory that their pictures take in Redis."""

import contextlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.errors import Unavailable
from worker.errors import QueueFull
from worker.queue_pace import Ended, QueuePace

CAPACITY_AGE_S = 0.2  # how old a look at the capacity may be
FULL_AGE_S = 0.02  # and how old one that found no room: many may be refused in that time
MEMORY_SHARE = 0.9  # of Redis' maxmemory, for pictures; the rest is for bookkeeping
CERTAIN = 0.9  # share of a wait that a promise may use
JOBS_BESIDE = 2  # also counted: the job being done and the new one
MOST_OWNERS = 1000  # whose backlogs are remembered


@dataclass
class Backlog:
    """What the next job of an owner finds in the queue."""

    own: int = 0  # jobs of the same owner
    own_bytes: int = 0  # of their pictures and results
    own_work: int = 0
    work_before: int = 0  # of whichever owner, that is done before it as things are
    seen_at: float = -math.inf  # of time.monotonic()


class Capacity:
    """What the queue still has room for, by looks at Redis that are at most ``CAPACITY_AGE_S`` old.

    Other API processes fill the queue too: it may exceed ``limit`` by what they accept between two looks.

    An owner may have as many jobs waiting as there are free places left, and as many bytes as there is memory that no
    waiting jobs take. So alone it gets half of everything, two get a third each, and there is always room for another
    one's first job. Jobs without owner are those of a server without keys, and may take all.

    Args:
        limit: most jobs that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pace = QueuePace()
        self._backlogs: defaultdict[tuple[str | None, bool], Backlog] = defaultdict(Backlog)
        self._coming = Counter[str | None]()  # accepted requests whose jobs are not queued yet, by owner
        self.waiting = 0  # jobs
        self._waiting_bytes = 0  # of their pictures and results
        self._used = 0  # bytes
        self._memory = 0  # bytes; 0: Redis sets no limit

    def needs_look(self, owner: str | None, *, long: bool, nbytes: int = 0) -> bool:
        """Whether to look at Redis before a job is counted: jobs may have ended since the last time."""
        backlog = self._backlogs[owner, long]
        full = self._surplus(owner, backlog) or self._above_share(owner, nbytes, long=long) or self.lacking(nbytes)
        return time.monotonic() - backlog.seen_at > (FULL_AGE_S if full else CAPACITY_AGE_S)

    def require_place(self, owner: str | None, *, long: bool) -> None:
        """Refuse a job for which there is no place in the queue.

        Raises:
            QueueFull: ``retry_after_s`` says when there will be one.
        """
        backlog = self._backlogs[owner, long]
        surplus = self._surplus(owner, backlog)
        if not surplus:
            return
        if self.waiting >= self._limit:
            why = f"{self.waiting} pictures are waiting already; no more than {self._limit} are accepted."
            needed_s = self._pace.seconds_for_jobs(surplus)
        else:
            why = (
                f"{backlog.own} pictures of this key are waiting already, and the {self._limit - self.waiting} places "
                "that are left are kept for others."
            )
            needed_s = self._pace.seconds_for_jobs(surplus) / self._pace.share(owner)
        raise QueueFull(why, retry_after_s=_told(needed_s))

    def require_share(self, owner: str | None, nbytes: int, *, long: bool) -> None:
        """Refuse a job of ``nbytes`` with which an owner would have too much of the memory.

        Raises:
            QueueFull: ``retry_after_s`` says when one of the owner's jobs will have ended.
        """
        if self._above_share(owner, nbytes, long=long):
            own_mb = self._backlogs[owner, long].own_bytes >> 20
            raise QueueFull(
                f"Pictures of this key that are waiting take {own_mb} MB already, and the memory that is left is kept "
                "for others.",
                retry_after_s=self.retry_after_s(owner, long=long),
            )

    def require_time(self, owner: str | None, wait_s: float, *, long: bool) -> None:
        """Refuse a request that could not be answered in time.

        Args:
            wait_s: how long it would wait for its job.

        Raises:
            QueueFull: its job would not end within that time. ``retry_after_s`` says when one would.
        """
        coming = self._coming[owner]
        before_s = self.seconds_before(owner, long=long)
        if not before_s and not coming:
            return
        needed_s = (before_s + self._pace.seconds_for_jobs(coming + JOBS_BESIDE)) / CERTAIN
        if needed_s > wait_s:
            raise QueueFull(
                f"With what is before it, this request would take about {needed_s:.1f} s; it waits {wait_s:g} s. Send "
                "it with wait=0 to have it done as a job.",
                retry_after_s=_told(needed_s - wait_s),
            )

    @contextlib.contextmanager
    def coming(self, owner: str | None) -> Iterator[None]:
        """Count a request that was accepted, while its pictures are decoded and its job is queued."""
        self._coming[owner] += 1
        try:
            yield
        finally:
            self._coming[owner] -= 1
            if not self._coming[owner]:
                del self._coming[owner]

    def seconds_before(self, owner: str | None, *, long: bool) -> float:
        """How long the owner's next job will wait; 0 if that is not known.

        That is the time for what is before it now. While an owner's own jobs are done, further ones of others come
        before the rest, so they take as long as its share of late makes them.
        """
        backlog = self._backlogs[owner, long]
        work = max(backlog.work_before, backlog.own_work / self._pace.share(owner))
        return self._pace.seconds_for(work=work)

    def retry_after_s(self, owner: str | None, *, long: bool) -> int:
        """About when one of the jobs that the owner has in hand will have ended."""
        own = max(1, self._backlogs[owner, long].own)
        return _told(self.seconds_before(owner, long=long) / own)

    def count(self, owner: str | None, *, long: bool, work: int, nbytes: int) -> None:
        """Count one more job of ``nbytes``, which all checks have let pass."""
        self.waiting += 1
        self._waiting_bytes += nbytes
        self._used += nbytes
        backlog = self._backlogs[owner, long]
        backlog.own += 1
        backlog.own_bytes += nbytes
        backlog.own_work += work
        backlog.work_before += work

    def ended(self, job: Ended) -> None:
        """Take note of the end of a job, so that one that waits begins."""
        self.waiting = max(0, self.waiting - 1)
        self._pace.ended(job, waiting=self.waiting)

    def lacking(self, nbytes: int) -> int:
        """How many bytes more would have to be free for one more job of ``nbytes``; 0: there is room."""
        return max(0, self._used + nbytes - self._limit_bytes) if self._memory else 0

    def memory_full(self, seconds_until_given_up: float | None) -> QueueFull:
        """Why a job finds no memory.

        Args:
            seconds_until_given_up: until enough of what is kept may be given up; None: there is not so much.
        """
        needed_s = seconds_until_given_up
        if needed_s is None:  # then what waits has to be done first
            needed_s = self._pace.seconds_for_jobs(self.waiting)
        why = f"The pictures that are waiting or kept fill the {self._memory >> 20} MB set aside for them."
        return QueueFull(why, retry_after_s=_told(needed_s))

    def seen(
        self,
        owner: str | None,
        foreseen: Sequence[int],
        *,
        long: bool,
        used: int,
        memory: int,
        claims: Sequence[bytes],
    ) -> None:
        """Take note of what a look at Redis found.

        Args:
            foreseen: what the script ``FORESEE`` told of this owner.
            used: bytes that Redis uses.
            memory: bytes that it may use; 0: as many as there are.
            claims: bytes of results of long jobs, which are not in memory yet.
        """
        if len(self._backlogs) > MOST_OWNERS:
            self._backlogs.clear()
        self.waiting, self._waiting_bytes, own, own_bytes, own_work, work_before = foreseen
        self._backlogs[owner, long] = Backlog(own, own_bytes, own_work, work_before, time.monotonic())
        self._used = used + sum(int(claim) for claim in claims if claim.isdigit())
        self._memory = memory

    def _surplus(self, owner: str | None, backlog: Backlog) -> int:
        """How many jobs, if others wait of its own, have to end before another one of this owner may come."""
        free = self._limit - self.waiting
        own = 0 if owner is None else (backlog.own + 2 - free) // 2  # each that ends also makes a place free
        return max(0, 1 - free, own)

    def _above_share(self, owner: str | None, nbytes: int, *, long: bool) -> bool:
        """Whether the owner would have more bytes waiting than are left. Results that are kept count as left."""
        if owner is None or not self._memory:
            return False
        return self._waiting_bytes + nbytes + self._backlogs[owner, long].own_bytes > self._limit_bytes

    @property
    def _limit_bytes(self) -> int:
        return int(MEMORY_SHARE * self._memory)


def _told(needed_s: float) -> int:
    """As ``Retry-After`` says it; what is usual if it is not known."""
    return max(1, math.ceil(needed_s)) if needed_s else Unavailable.retry_after_s
