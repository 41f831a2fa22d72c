"""What calls consist of: requests, pauses, and streams of events, apart from how they are carried out.

A call is written once, as a generator. It yields steps, and gets back what each of them gave; its own ``return`` is
what the call gives. ``clients.py`` carries the steps out: one class blocks, one awaits.
"""

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast
from uuid import uuid4

import httpx

from doppel.errors import ApiError
from doppel.events import Event

FIRST_PAUSE_S = (
    0.5  # before a request is sent again, if the server does not say when; each further one is twice as long
)
LONGEST_PAUSE_S = 60.0  # if the server asks for more, the error is raised at once
FAILURES_IN_A_ROW = 8  # of a stream of events that brings nothing
RESTART_S = 0.5  # that a server is given which ended a stream too early

T = TypeVar("T")


class HasEnd(Protocol):
    """The state of something that ends."""

    @property
    def ended(self) -> bool:
        """Whether this state is final."""
        ...


State = TypeVar("State", bound=HasEnd)


@dataclass(frozen=True)
class Upload:
    """A file that is sent."""

    field: str  # of the form
    source: bytes | Path
    on_sent: Callable[[float], object] | None = None  # called with the part of it that was sent, 0 to 1


@dataclass(frozen=True)
class Send:
    """A request. It gives the answer, an ``httpx.Response`` that is no error, once it is had.

    It is sent again if it was not answered, or if the server asks for that. A POST has a key then, so that it makes
    nothing twice.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    fields: Mapping[str, str] = field(default_factory=dict)
    uploads: Sequence[Upload] = ()

    def request(self, client: httpx.Client | httpx.AsyncClient, opened: ExitStack) -> httpx.Request:
        """The request, with its files open, which ``opened`` closes.

        Raises:
            OSError: a file can't be read.
        """
        files = [(upload.field, _part(upload, opened)) for upload in self.uploads]
        return client.build_request(
            self.method,
            self.path.lstrip("/"),
            params=dict(self.query) or None,
            headers=dict(self.headers),
            json=self.json,
            data=dict(self.fields) or None,
            files=files or None,
        )


@dataclass(frozen=True)
class Attempt:
    """A request that is sent once. It gives the answer, whatever that is, or raises ``httpx.TransportError``."""

    send: Send


@dataclass(frozen=True)
class Watch:
    """A stream of events, to its end. It gives nothing, or raises :class:`ApiError` when it is refused or lost."""

    path: str
    on_event: Callable[[Event], object]
    last_id: str | None = None  # the event after which it is to continue


@dataclass(frozen=True)
class Pause:
    """A time in which nothing is done."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Calls of which some are carried out at once. It gives the list of what each gave."""

    calls: Sequence["Steps[Any]"]
    at_once: int


Step = Send | Attempt | Watch | Pause | Together
Steps = Generator[Step, Any, T]


def post(
    path: str,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    fields: Mapping[str, str] | None = None,
    uploads: Sequence[Upload] = (),
    query: Mapping[str, str | int] | None = None,
) -> Send:
    """A POST, which makes what it asks for once, however often it is sent.

    Args:
        key: 1 to 255 visible ASCII characters, by which the server knows it again; None draws one.
    """
    named = {**(headers or {}), "Idempotency-Key": key or uuid4().hex}
    return Send("POST", path, query or {}, named, json, fields or {}, uploads)


def attempts(send: Send, tries: int) -> Steps[httpx.Response]:
    """Send a request until it is answered well, at most ``tries`` times.

    Raises:
        ApiError: it was refused, or not answered.
    """
    for tried in range(1, tries + 1):
        loss: httpx.TransportError | None = None
        try:
            response = cast(httpx.Response, (yield Attempt(send)))
        except httpx.UnsupportedProtocol as error:
            raise ApiError.of_loss(error) from error
        except httpx.TransportError as error:
            problem, loss = ApiError.of_loss(error), error
        else:
            if response.is_success:
                return response
            problem = ApiError.of_answer(response)
        if tried == tries or not worth_waiting(problem):
            raise problem from loss
        yield Pause(pause_s(problem, tried))
    raise AssertionError("tries is at least 1")


def watched(path: str, read: Callable[[Event], State | None], state: State | None = None) -> Steps[State]:
    """Follow a stream of events, over lost connections too, until what it tells of has ended.

    Args:
        read: called with each event; gives the state that it brings, if it brings one.
        state: the one that is known beforehand.

    Returns:
        The last state.

    Raises:
        ApiError: the stream was refused, or lost too often in a row.
    """
    last_id: str | None = None
    failures = 0

    def see(event: Event) -> None:
        nonlocal state, last_id, failures
        failures, last_id = 0, event.id or last_id
        state = read(event) or state

    while state is None or not state.ended:
        try:
            yield Watch(path, see, last_id)
        except ApiError as problem:
            failures += 1
            if not worth_waiting(problem) or failures == FAILURES_IN_A_ROW:
                raise
            yield Pause(pause_s(problem, failures))
        else:
            if state is None or not state.ended:
                yield Pause(RESTART_S)
    return state


def worth_waiting(problem: ApiError) -> bool:
    """Whether the request may succeed a little later."""
    return problem.passing and (problem.retry_after_s or 0.0) <= LONGEST_PAUSE_S


def pause_s(problem: ApiError, failures: int) -> float:
    """How long to wait before the next try, in seconds.

    Args:
        failures: number of tries that have failed, one after the other.
    """
    if problem.retry_after_s is not None:
        return problem.retry_after_s
    return float(min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.8, 1.2))


def _part(upload: Upload, opened: ExitStack) -> tuple[str, Any]:
    """A file of a form: its name and its content."""
    if isinstance(upload.source, bytes):
        return "file", upload.source
    file = opened.enter_context(upload.source.open("rb"))
    if upload.on_sent is None:
        return upload.source.name, file
    return upload.source.name, _Counted(file, upload.source.stat().st_size, upload.on_sent)


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, size: int, on_read: Callable[[float], object]) -> None:
        self._file = file
        self._size = size
        self._on_read = on_read
        self.seek, self.tell, self.fileno = file.seek, file.tell, file.fileno

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_read(self._file.tell() / self._size if self._size else 1.0)
        return data
