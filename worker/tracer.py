"""What a process traces with where tracing is off: nothing. What records (``span_tracer.py``) has the same methods."""

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

Attributes = Mapping[str, str | int | float]

_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()


class Tracer:
    """Records nothing."""

    enabled = False
    provider: "TracerProvider | None" = None  # by which libraries can trace

    def request(self, request_id: str) -> str | None:
        """Note the id of the request that is being handled with its span.

        Returns:
            The W3C ``traceparent`` of that span; None if there is none.
        """
        return None

    def span(self, name: str, attributes: Attributes | None = None) -> AbstractContextManager[None]:
        """Record how long a block takes, as a part of what the current task is about."""
        return _NOTHING

    def past(
        self,
        name: str,
        begun: float,
        ended: float,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
        error: BaseException | None = None,
    ) -> str | None:
        """Record something that is over.

        Args:
            begun: Unix time, seconds.
            ended: Unix time, seconds.
            parent: the W3C ``traceparent`` of what it is a part of; None: it is the root of a trace.
            links: the ``traceparent`` of what else it has to do with.
            error: why it failed.

        Returns:
            Its ``traceparent``; None if nothing is recorded.
        """
        return None

    def close(self) -> None:
        """Send what was not sent yet. The process ends."""
