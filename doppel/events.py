"""Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html reads them."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """An event of a stream."""

    name: str  # "job"; of a training run "metrics", "sample", "alarm" or "status"
    data: Any  # the JSON value that it carries
    id: str | None = None  # of metrics the step, after which a stream can be continued


class EventReader:
    """Puts events together from the lines of a stream."""

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []
        self._id: str | None = None

    def read(self, line: str) -> Event | None:
        """The event that this line, which has no line end, completes; None if it completes none."""
        if not line:
            event = Event(self._name or "message", json.loads("\n".join(self._data)), self._id) if self._data else None
            self._name, self._data, self._id = "", [], None
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
        return None
