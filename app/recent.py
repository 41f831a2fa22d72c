"""A value that is expensive to make, shared for a moment by everybody who asks for it."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Makes a value at most once in ``ttl_s``, however many threads ask. A failure is not kept.

    Args:
        ttl_s: how old the value may be, counted from when its making began.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._lock = Lock()
        self._value: Future[T] | None = None
        self._begun_at = 0.0  # by the monotonic clock

    def get(self, make: Callable[[], T]) -> T:
        """The value, made by ``make`` unless there is a recent one. Threads that come meanwhile wait for it.

        Raises:
            Exception: whatever ``make`` raised, in each thread that waited for it.
        """
        with self._lock:
            value, begins = self._value, False
            if value is None or self._is_stale(value):
                value, begins = Future[T](), True
                self._value, self._begun_at = value, time.monotonic()
        if begins:
            try:
                value.set_result(make())
            except Exception as error:
                value.set_exception(error)
        return value.result()

    def _is_stale(self, value: "Future[T]") -> bool:
        if not value.done():
            return False
        return value.exception() is not None or time.monotonic() - self._begun_at > self._ttl_s
