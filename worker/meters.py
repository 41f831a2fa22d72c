"""What is counted for those who watch the server: in the memory of each process, and summed up in Redis.

Counting costs a microsecond and no round trip: every process adds what is new to Redis every two seconds, workers with
their heartbeat. A process that is killed takes what it counted since then with it.
"""

import contextlib
import json
import math
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from redis.client import Pipeline

from worker import contract

FLUSH_S = 2.0  # between two additions to Redis

Key = tuple[str, ...]  # a meter's name, its labels' values, and of a histogram the bucket's number or ``SUM``
Addition = tuple[str, str, str, str | int]  # a command

SUM = "sum"


@dataclass(frozen=True)
class Counter:
    """Something that is counted, apart for each combination of labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Histogram:
    """Something that is measured: how often it was at most so large."""

    name: str
    help: str
    buckets: tuple[float, ...]  # upper bounds, ascending; there is one more for what is larger
    labels: tuple[str, ...] = ()


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

REQUESTS = Counter("http_requests", "HTTP requests that were answered", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "http_request_duration_seconds", "Time from a request to the beginning of its answer", _SECONDS, ("route",)
)
REJECTIONS = Counter("rejections", "Requests that were answered with a problem, by its title", ("status", "title"))
JOBS = Counter("jobs", "Jobs that workers ran to their end", ("model", "kind", "status"))
PICTURES = Counter("pictures", "Pictures that models made", ("model",))
WEBHOOKS = Counter(
    "webhooks", "Webhooks: delivered; failed, to be sent again; refused, given_up or expired for good", ("outcome",)
)
BATCH_SIZE = Histogram("batch_size", "Jobs that ran together", (1, 2, 4, 8, 16, 32, 64, 128, 256))
STAGE_SECONDS = Histogram(
    "stage_seconds",
    "Time of jobs in each stage: decode, queue, inference (of the whole batch), encode",
    _SECONDS,
    ("stage",),
)

COUNTERS = (REQUESTS, REJECTIONS, JOBS, PICTURES, WEBHOOKS)
HISTOGRAMS = (REQUEST_SECONDS, BATCH_SIZE, STAGE_SECONDS)


class Meter:
    """What one process has counted and not yet added to Redis. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[Key, float] = {}

    def count(self, counter: Counter, *labels: str, by: int = 1) -> None:
        """Count something.

        Args:
            labels: values of the counter's labels, of which there must be few.
        """
        with self._lock:
            self._add((counter.name, *labels), by)

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """Count a measurement."""
        bucket = str(bisect_left(histogram.buckets, value))
        with self._lock:
            self._add((histogram.name, *labels, bucket), 1)
            self._add((histogram.name, *labels, SUM), value)

    def _add(self, key: Key, amount: float) -> None:
        self._counted[key] = self._counted.get(key, 0) + amount

    @contextlib.contextmanager
    def additions(self) -> Iterator[list[Addition]]:
        """The commands that add to Redis what is new, for a block that sends them.

        If it raises an error they are kept for the next time. If then only the reply was lost, they count twice.
        """
        with self._lock:
            counted, self._counted = self._counted, {}
        try:
            yield [
                (
                    "HINCRBY" if isinstance(amount, int) else "HINCRBYFLOAT",
                    contract.METERS,
                    json.dumps(key),
                    _sent(amount),
                )
                for key, amount in counted.items()
            ]
        except BaseException:
            with self._lock:
                for key, amount in counted.items():
                    self._add(key, amount)
            raise

    @contextlib.contextmanager
    def added_by(self, pipe: Pipeline) -> Iterator[None]:
        """:meth:`additions` in a pipeline, which the block executes."""
        with self.additions() as additions:
            for addition in additions:
                pipe.execute_command(*addition)  # type: ignore[no-untyped-call]
            yield


def _sent(amount: float) -> str | int:
    return amount if isinstance(amount, int) else f"{amount:.6f}"


def read_totals(fields: Mapping[bytes, bytes]) -> dict[Key, float]:
    """What all processes have counted, from the hash ``contract.METERS``; without what can't be understood."""
    totals: dict[Key, float] = {}
    for field, amount in fields.items():
        with contextlib.suppress(ValueError):
            key, total = json.loads(field), float(amount)
            if isinstance(key, list) and all(isinstance(part, str) for part in key) and math.isfinite(total):
                totals[tuple(key)] = total
    return totals
