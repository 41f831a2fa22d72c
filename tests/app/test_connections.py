"""Clients that open many connections, send endless heads or none, or stop in the middle."""

import contextlib
import json
import select
import socket
from collections.abc import Iterator

import httpx
import pytest

from app.connections import Bounds
from app.settings import Settings
from tests.pictures import encoded, landscape
from tests.processes import api, eventually
from worker.contract import Status
from worker.inference_queue import rq_queue

QUICK = Bounds(connections=8, head_bytes=4096, head_s=0.3, body_s=0.3, body_bytes=100, answer_s=0.3)
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def impatient(settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API with bounds that tests reach."""
    with api(settings, QUICK) as client:
        yield client


@contextlib.contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def refused(answer: bytes) -> tuple[int, str]:
    """Status and media type of an answer whose body is a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert json.loads(body)["status"] == status
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"connection"] == b"close"
    return status, headers[b"content-type"].decode()


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-A: " + b"a" * 6000,
        HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(700)),
        b"GET /healthz?" + b"a" * 6000 + b" HTTP/1.1\r\n",
        HEAD + b"a" * 6000,
        HEAD + b"X-A: " + b"a" * 6000 + b"\r\n\r\n",
    ],
    ids=["value", "many", "address", "name", "complete"],
)
def test_a_head_that_does_not_end_is_answered_431(impatient, head):
    with connected(impatient) as connection:
        connection.sendall(head)
        assert refused(rest(connection)) == (431, "application/problem+json")
    assert impatient.get("/healthz").status_code == 200


def test_a_body_is_no_part_of_the_head(impatient):
    for size in (3000, 60_000, 3000):
        form = {"files": {"image": bytes(size)}, "data": {"model": "tiny"}}
        assert "not a usable picture" in impatient.post("/translate", **form).json()["title"].lower()


def test_a_head_within_the_bound_is_taken(impatient):
    assert impatient.get("/healthz", headers={"X-A": "a" * 3500}).status_code == 200


@pytest.mark.parametrize(("sent", "status"), [(b"", None), (HEAD, 408), (b"\r\n", 408)], ids=["none", "half", "empty"])
def test_a_head_that_is_late_is_not_waited_for(impatient, sent, status):
    with connected(impatient) as connection:
        connection.sendall(sent)
        answer = rest(connection)
    assert (refused(answer)[0] if answer else None) == status


def test_a_second_head_that_is_late_is_not_waited_for(impatient):
    with connected(impatient) as connection:
        connection.sendall(HEAD + b"\r\n")
        connection.sendall(b"\r\n")  # between requests: no head begins with it, yet it is no silence
        assert rest(connection).startswith(b"HTTP/1.1 200")


def test_a_body_that_stops_is_answered_408(impatient):
    with connected(impatient) as connection:
        kind = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"
        connection.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\n" + kind)
        assert refused(rest(connection)) == (408, "application/problem+json")


def test_a_client_that_takes_no_answer_is_let_go_without_a_word_in_the_log(impatient, caplog):
    with connected(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)  # more than buffers hold
        closed = select.poll()
        closed.register(connection, 0)
        assert closed.poll(60_000)
    assert impatient.get("/healthz").status_code == 200  # by when the answer under way has been given up
    assert not [record for record in caplog.records if record.exc_info]


def test_a_client_that_is_gone_cancels_its_job_although_a_request_waits_behind_it(impatient, queue):
    form = httpx.Request(
        "POST", "http://localhost/translate", files={"image": encoded(landscape())}, data={"model": "tiny"}
    )
    head = b"".join(b"%s: %s\r\n" % header for header in form.headers.raw)
    with connected(impatient) as connection:
        connection.sendall(b"POST /translate HTTP/1.1\r\n" + head + b"\r\n" + form.read() + HEAD + b"\r\n")
        [job] = eventually(lambda: rq_queue(queue.connection).get_job_ids())
    eventually(lambda: queue.state(job).status is Status.CANCELED)


def test_more_connections_than_are_taken_end_those_that_wait(settings):
    with api(settings, Bounds(connections=4)) as client, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(client)) for _ in range(8)]
        assert client.get("/healthz").status_code == 200
        with pytest.raises(ConnectionResetError):
            silent[0].recv(1)


def test_no_further_connection_is_taken_while_all_are_busy(settings):
    kind = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"
    with api(settings, Bounds(connections=4)) as client, contextlib.ExitStack() as stack:
        for _ in range(4):
            half = stack.enter_context(connected(client))
            half.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" + kind)
            assert half.recv(100).startswith(b"HTTP/1.1 100")  # it is being answered
        with connected(client) as connection:
            assert refused(rest(connection)) == (503, "application/problem+json")


def test_what_is_not_http_is_answered_with_a_problem_document(impatient):
    with connected(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAccept: \x01\r\n\r\n")
        assert refused(rest(connection)) == (400, "application/problem+json")


def test_the_answer_names_no_server(impatient):
    assert "server" not in impatient.get("/healthz").headers
