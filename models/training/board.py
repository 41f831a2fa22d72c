"""A run's figures where TensorBoard finds them."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

FLUSH_EVERY_S = 10.0


class Board:
    """Writes event files in ``folder``; what earlier ones told of ``first_step`` and later is taken back.

    tensorboardX's own SummaryWriter writes in a thread, which a full disk ends; a run would then wait for it for ever.

    Raises:
        OSError: by this and every method, when the disk is full.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        # Its name has the time in seconds; two attempts may begin in the same one.
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=f".{os.getpid()}")
        self._flushed_at = time.monotonic()
        self._add(Event(step=first_step, file_version="brain.Event:2"))
        self._add(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def plot(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""
        event = Event(step=step)
        for name, value in values.items():
            event.summary.value.extend(scalar(name, value).value)
        self._add(event)
        if time.monotonic() - self._flushed_at > FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Have all that was plotted on disk."""
        self._flushed_at = time.monotonic()
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
