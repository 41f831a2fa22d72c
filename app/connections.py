"""Bounds on connections: how many there are, how large a request's head is, and how long a client may keep still."""

import resource
import socket
import struct
from asyncio import AbstractEventLoop, BaseTransport, Transport
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.schemas import ProblemDetails

DESCRIPTORS = 16_384  # that are asked for at the start, where the system grants so many
DESCRIPTORS_OF_ONE = 3  # connection: itself, and what its upload or answer may keep open
DESCRIPTORS_KEPT = 100  # for everything but connections

TITLES = {400: "Invalid request", 408: "Request timeout", 431: "Request header too large", 503: "Unavailable"}

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 s


@dataclass(frozen=True)
class Bounds:
    """What one API process lets its clients take."""

    connections: int = 1000
    head_bytes: int = 32 << 10  # request line and headers
    head_s: float = 10.0  # from a head's first byte, or from the connection, to the head's end
    body_s: float = 20.0  # a body that is waited for must bring `body_bytes` in each such period
    body_bytes: int = 4 << 10
    answer_s: float = 60.0  # a client must take in some of its answer in each such period


def within_descriptors(connections: int) -> int:
    """Raise this process's limit on file descriptors; how many of ``connections`` it leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, (soft - DESCRIPTORS_KEPT) // DESCRIPTORS_OF_ONE))


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's that is closed when its client exceeds the bounds.

    With httptools, uvicorn bounds neither the head nor the time that a client takes. This class counts what comes in;
    :func:`close_overdue` looks at the clock for all connections at once, so that no request needs a timer.
    """

    bounds = Bounds()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._awaiting_head_since: float | None = None  # by the loop's clock; None: no head is due
        self._head_bytes = 0  # received of a head that is not complete
        self._heads = 0  # complete ones
        self._in_body = False
        self._body_bytes = 0  # received since `_body_since`
        self._body_since = 0.0
        self._unsent_bytes = 0  # what was left to send at `_unsent_since`
        self._unsent_since: float | None = None
        self._begun: RequestResponseCycle | None = None  # `cycle` is the last one, which may wait for its turn

    @property
    def idle_since(self) -> float | None:
        """Since when the next request is awaited, by the loop's clock; None while one is answered."""
        return None if self._answered is not None else self._awaiting_head_since

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self._awaiting_head_since = self.loop.time()
        if len(self.connections) > self.bounds.connections and not _drop_idle(self.connections, but=self):
            self.refuse(503, "The server has as many connections as it takes. Try again shortly.")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._begun = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_answer()
        super().connection_lost(exc)

    @property
    def _answered(self) -> RequestResponseCycle | None:
        """The request that is being answered, if any."""
        return None if self._begun is None or self._begun.response_complete else self._begun

    def _end_answer(self) -> None:
        """Have nothing more written of the answer under way, and tell the application that the client is gone."""
        if self._answered is not None:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def data_received(self, data: bytes) -> None:
        heads, of_body = self._heads, self._in_body
        if of_body:
            self._body_bytes += len(data)
        super().data_received(data)
        if not of_body and self._heads == heads:
            self._head_bytes += len(data)
            if self._head_bytes > self.bounds.head_bytes and not self.transport.is_closing():
                self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaiting_head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)  # 4: colon, space, CRLF
        if size > self.bounds.head_bytes:
            self._refuse_head()
            return
        self._heads += 1
        self._head_bytes = 0
        self._awaiting_head_since = None
        self._in_body, self._body_bytes, self._body_since = True, 0, self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:  # None: the head was refused
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self._awaiting_head_since = self.loop.time()
        super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if no WebSocket had been asked for, and without a word in the log."""

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "The request is not HTTP that can be read.")

    def _refuse_head(self) -> None:
        self.refuse(431, f"The request line and headers come to more than {self.bounds.head_bytes:,} bytes.")

    def refuse(self, status: int, detail: str) -> None:
        """Answer with a problem document (RFC 9457) and close the connection, unless an answer has begun."""
        if self.transport.is_closing():
            return
        if self._answered is None or not self._answered.response_started:
            body = ProblemDetails(title=TITLES[status], status=status, detail=detail).model_dump_json().encode()
            head = [b"content-type: application/problem+json", b"content-length: %d" % len(body), b"connection: close"]
            head.append(b"x-content-type-options: nosniff")
            head += [b"retry-after: 1"] if status == 503 else []
            self.transport.write(STATUS_LINE[status] + b"\r\n".join(head) + b"\r\n\r\n" + body)
        self._end_answer()
        self.transport.close()

    def reset(self) -> None:
        """Close the connection, and have the system forget what it still holds for the client."""
        self._end_answer()
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if its client has kept still for too long.

        Args:
            now: by the loop's clock.
        """
        if self._takes_no_answer(now):
            self.reset()
        elif self.idle_since is not None and now - self.idle_since > self.bounds.head_s:
            if self._head_bytes:
                self.refuse(408, f"The head of the request was not complete after {self.bounds.head_s:g} s.")
            self.transport.close()
        elif self._in_body and self._brings_no_body(now):
            self.refuse(408, f"Fewer than {self.bounds.body_bytes:,} bytes came in {self.bounds.body_s:g} s.")

    def _takes_no_answer(self, now: float) -> bool:
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._unsent_since = None
            return False
        unsent = self.transport.get_write_buffer_size()
        if self._unsent_since is None or unsent <= self._unsent_bytes - self.bounds.body_bytes:
            self._unsent_bytes, self._unsent_since = unsent, now
        return now - self._unsent_since > self.bounds.answer_s

    def _brings_no_body(self, now: float) -> bool:
        if self.flow.read_paused:  # it is not the client who keeps still
            self._body_bytes, self._body_since = 0, now
        if now - self._body_since <= self.bounds.body_s:
            return False
        late = self._body_bytes < self.bounds.body_bytes
        self._body_bytes, self._body_since = 0, now
        return late


def bounded(bounds: Bounds) -> type[Connection]:
    """The class of connections with these bounds, as uvicorn's ``http`` takes it."""
    return type("BoundedConnection", (Connection,), {"bounds": bounds})


def close_overdue(connections: Iterable[object], now: float) -> None:
    """Close the connections whose clients have kept still for too long.

    Args:
        connections: of a server, of any class.
        now: by the loop's clock.
    """
    for connection in list(connections):
        if isinstance(connection, Connection):
            connection.close_if_overdue(now)


def _drop_idle(connections: Iterable[object], *, but: Connection) -> bool:
    """Close the connection that has waited longest without a request; False if there is none."""
    idle = [
        (connection.idle_since, connection)
        for connection in connections
        if isinstance(connection, Connection) and connection is not but and connection.idle_since is not None
    ]
    if not idle:
        return False
    _, longest = min(idle, key=lambda pair: pair[0])
    longest.reset()
    return True
