"""The thread in which a worker reports itself alive."""

import logging
import threading
from collections.abc import Callable

from worker.contract import HEARTBEAT_S

log = logging.getLogger("doppel.worker")


class Heart:
    """Beats about every ``HEARTBEAT_S`` while its worker takes jobs.

    A worker starts it where RQ asks for the first job: from there on a signal ends the worker in good order, and who
    was told of it by a beat may send one.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeats")

    def start(self) -> None:
        """Begin to beat; nothing if it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Beat no more: a last beat that came later would report the dead alive."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=HEARTBEAT_S)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._beat()
            except Exception:
                log.warning("heartbeat failed", exc_info=True)
            self._over.wait(HEARTBEAT_S)
