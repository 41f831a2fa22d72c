"""A janitor for tests of what dies."""

import signal
import threading

import pytest

from worker.connection import connect
from worker.janitor import Janitor


@pytest.fixture
def janitor(redis_url):
    """A janitor at work in this process, as it is in the API's."""
    stop = threading.Event()
    working = Janitor(connect(redis_url, patience_s=1))
    thread = threading.Thread(target=working.run, args=(stop,))
    thread.start()
    yield working
    stop.set()
    thread.join()


@pytest.fixture
def signals():
    """Puts back what a worker in this process makes of signals."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
