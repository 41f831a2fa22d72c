"""The lines that processes log: as text for people, or as JSON with the ids of the requests that they are about."""

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

Format = Literal["text", "json"]

_request_ids: ContextVar[tuple[str, ...]] = ContextVar("request_ids", default=())
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(chosen: Format) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if chosen == "json" else logging.Formatter("%(asctime)s %(name)s %(message)s", datefmt="%H:%M:%S")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def set_request_id(request_id: str) -> None:
    """Say which request the current task is about, for the lines that it and what it calls log from now on."""
    _request_ids.set((request_id,))


def request_id() -> str | None:
    """The id of the request that is being handled; None outside one."""
    ids = _request_ids.get()
    return ids[0] if len(ids) == 1 else None


@contextlib.contextmanager
def about(request_ids: Iterable[str | None]) -> Iterator[None]:
    """Say which requests a block is about; of a batch there are several."""
    token = _request_ids.set(tuple(one for one in request_ids if one is not None))
    try:
        yield
    finally:
        _request_ids.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, request_id or request_ids, extras."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        match _request_ids.get():
            case [one]:
                line["request_id"] = one
            case [_, *_] as several:
                line["request_ids"] = list(several)
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
