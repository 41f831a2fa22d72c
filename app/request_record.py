"""What is known of the request in hand, for the log and for what is counted. It travels in the ASGI scope."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KEY = "doppel.request"


@dataclass
class RequestRecord:
    """Filled in by those who know: route and key once found, the title of a problem when that is the answer."""

    id: str
    route: str | None = None
    problem: str | None = None
    key: str | None = None  # the name of its API key


def begin(scope: Any, request_id: str) -> RequestRecord:
    """Put a new record into the scope of a request; copies of the scope share it."""
    record = RequestRecord(request_id)
    scope[_KEY] = record
    return record


def record_of(scope: Mapping[str, Any]) -> RequestRecord | None:
    """The request's record; None if no middleware has begun one."""
    record: RequestRecord | None = scope.get(_KEY)
    return record
