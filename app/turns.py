"""Threads for one kind of slow work: a few at once, apart from the threads that answer other calls."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from models.errors import Unavailable

MEAN_OF = 16  # functions, about

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """Runs functions of one kind in threads, some at once and the others in turn.

    Whoever waits for a turn waits in the event loop. It holds none of the threads in which FastAPI runs plain
    functions, so other calls are answered however much slow work waits.

    Args:
        at_once: number of functions that run at once, which bounds the memory that they take.
        most_waiting: number of functions that may wait for their turn; None: any.
    """

    def __init__(self, at_once: int, most_waiting: int | None = None) -> None:
        self._threads = ThreadPoolExecutor(at_once)
        self._at_once = at_once
        self._most = None if most_waiting is None else at_once + most_waiting
        self._asked = 0  # functions that run or wait
        self._mean_s = 0.0  # that one takes, of late

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a thread when its turn has come, first come, first served.

        Raises:
            Unavailable: too many wait already.
        """
        if self._most is not None and self._asked >= self._most:
            wait_s = self._asked * self._mean_s / self._at_once
            raise Unavailable("The server is busy with other uploads.", retry_after_s=max(1, math.ceil(wait_s)))
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, partial(self._timed, function, *args, **kwargs))
        finally:
            self._asked -= 1

    def _timed(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self._mean_s += (time.monotonic() - started - self._mean_s) / MEAN_OF
