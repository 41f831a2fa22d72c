"""Threads for one kind of slow work: a few at once, apart from the threads that answer other calls."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """Runs functions of one kind in threads, some at once and the others in turn.

    Whoever waits for a turn waits in the event loop. It holds none of the threads in which FastAPI runs plain
    functions, so other calls are answered however much slow work waits.

    Args:
        at_once: number of functions that run at once, which bounds the memory that they take.
    """

    def __init__(self, at_once: int) -> None:
        self._threads = ThreadPoolExecutor(at_once)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a thread when its turn has come, first come, first served."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))
