"""The lines that processes log: as text for people, or as JSON with the ids of the requests that they are about."""

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

Format = Literal["text", "json"]


class Ordered(Protocol):
    """Something that a request has ordered, such as a job."""

    @property
    def request_id(self) -> str | None: ...

    @property
    def traceparent(self) -> str | None:
        """Of the request, where it is traced; in the form of W3C Trace Context."""


@dataclass(frozen=True)
class Request:
    """What is said of the request that is being handled."""

    request_id: str | None = None
    traceparent: str | None = None


_about: ContextVar[tuple[Request, ...]] = ContextVar("about", default=())
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(chosen: Format) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if chosen == "json" else logging.Formatter("%(asctime)s %(name)s %(message)s", datefmt="%H:%M:%S")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def set_request(request_id: str, traceparent: str | None = None) -> None:
    """Say which request the current task is about, for the lines that it and what it calls log from now on."""
    _about.set((Request(request_id, traceparent),))


def request() -> Request:
    """The request that is being handled; one without an id outside of any."""
    requests = _about.get()
    return requests[0] if len(requests) == 1 else Request()


@contextlib.contextmanager
def about(ordered: Iterable[Ordered]) -> Iterator[None]:
    """Say which requests a block is about; of a batch there are several."""
    token = _about.set(tuple(Request(one.request_id, one.traceparent) for one in ordered))
    try:
        yield
    finally:
        _about.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, what it is about, extras.

    It is about a ``request_id`` or ``request_ids``, and where requests are traced a ``trace_id`` or ``trace_ids``.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, values in (("request_id", _request_ids()), ("trace_id", _trace_ids())):
            match values:
                case [one]:
                    line[name] = one
                case [_, *_]:
                    line[f"{name}s"] = values
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _request_ids() -> list[str]:
    return [one.request_id for one in _about.get() if one.request_id is not None]


def _trace_ids() -> list[str]:
    """Each trace once; of what is no ``traceparent`` nothing."""
    parts = [one.traceparent.split("-") for one in _about.get() if one.traceparent is not None]
    return list(dict.fromkeys(trace_id for _, trace_id, *_ in filter(lambda part: len(part) == 4, parts)))
