"""What the Python client does when a server refuses, is away, or cuts a stream: against scripted answers."""

import asyncio
import json
import time

import httpx
import pytest

import doppel
from doppel import steps

PROBLEM = {"title": "Unavailable", "detail": "The queue is full."}
MADE = {"Content-Type": "image/png", "X-Model": "tiny", "X-Job-Id": "1"}
JOB = {"id": "1", "kind": "translation", "position": None, "error": None}


def job(status, progress=0.0):
    return {**JOB, "status": status, "progress": progress}


def refused(status=503, **headers):
    return httpx.Response(status, json=PROBLEM, headers=headers)


def events(*described, name="job"):
    text = "".join(f"event: {name}\ndata: {json.dumps(one)}\n\n: keep alive\n\n" for one in described)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


class Script(httpx.MockTransport):
    """Answers in turn: responses, and errors that are raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        super().__init__(self.handle)

    def handle(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, in seconds, none of which is waited for."""
    made = []

    async def pause(seconds):
        made.append(seconds)

    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(asyncio, "sleep", pause)
    monkeypatch.setattr(steps.random, "uniform", lambda low, high: 1.0)
    return made


def test_a_request_is_sent_again_as_it_was(connect, pauses):
    script = Script(httpx.ConnectError("refused"), refused(**{"Retry-After": "7"}), refused(429), refused(502))
    script.answers.append(httpx.Response(200, content=b"png", headers=MADE))
    assert connect("http://test", transport=script).translate(b"photo", "tiny").content == b"png"
    assert pauses == [0.5, 7.0, 2.0, 4.0]
    keys = {request.headers["Idempotency-Key"] for request in script.requests}
    assert len(keys) == 1
    assert all(b"photo" in request.read() for request in script.requests)
    assert len({request.headers["Content-Type"] for request in script.requests}) == 5  # a boundary each


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (refused(422), 1),
        (refused(409), 1),
        (refused(410), 1),
        (refused(500), 1),
        (refused(**{"Retry-After": "3600"}), 1),
        (refused(), 3),
        (httpx.Response(502, text="<h1>a proxy</h1>"), 3),
        (httpx.ReadTimeout(""), 3),
        (httpx.UnsupportedProtocol("no http"), 1),
    ],
    ids=["422", "409", "410", "500", "503 for an hour", "503", "502", "lost", "no address"],
)
def test_what_does_not_pass_is_an_error(connect, pauses, answer, sent):
    script = Script(*[answer] * 5)
    with pytest.raises(doppel.ApiError) as caught:
        connect("http://test", transport=script, tries=3).translate(b"photo")
    assert len(script.requests) == sent
    error = caught.value
    if isinstance(answer, Exception):
        assert (error.status, error.title) == (0, "No answer")
        assert isinstance(error.__cause__, httpx.TransportError)
    else:
        assert error.status == answer.status_code
        assert (error.detail == PROBLEM["detail"]) is (answer.headers["Content-Type"] == "application/json")
        assert error.retry_after_s == (3600.0 if "Retry-After" in answer.headers else None)


def test_two_calls_have_two_keys_unless_they_are_given_one(connect):
    script = Script(*(httpx.Response(200, content=b"png", headers=MADE) for _ in range(4)))
    client = connect("http://test", transport=script)
    for key in (None, None, "mine", "mine"):
        client.translate(b"photo", key=key)
    first, second, *given = (request.headers["Idempotency-Key"] for request in script.requests)
    assert first != second
    assert given == ["mine", "mine"]


def test_a_date_says_when_to_try_again(connect, pauses):
    script = Script(refused(**{"Retry-After": "Fri, 01 Jan 2021 00:00:00 GMT"}), httpx.Response(200, json=[]))
    assert connect("http://test", transport=script).models() == []
    assert pauses == [0.0]


def test_who_asks_is_in_the_headers(connect, monkeypatch):
    monkeypatch.setenv("DOPPEL_API_KEY", "from-the-environment")
    monkeypatch.setenv("DOPPEL_CLIENT", "environment-client")
    monkeypatch.setenv("DOPPEL_URL", "http://test/prefix/")
    for options, key, client in (
        ({}, "from-the-environment", "environment-client"),
        ({"api_key": "given", "client_name": "given-client-name"}, "given", "given-client-name"),
    ):
        script = Script(httpx.Response(200, json=[]))
        assert connect(transport=script, **options).jobs() == []
        [request] = script.requests
        assert request.headers["Authorization"] == f"Bearer {key}"
        assert request.headers["X-Client"] == client
        assert request.url == "http://test/prefix/jobs?limit=50"


def test_a_job_is_followed_over_streams_that_break(connect, pauses):
    script = Script(
        httpx.Response(202, json=job("queued")),
        events(job("queued"), job("running", 0.5)),  # and the server ends
        httpx.ConnectError("refused"),
        refused(503),
        events(job("running", 0.5), job("succeeded", 1.0)),
        httpx.Response(200, content=b"png", headers=MADE),
    )
    seen = []
    client = connect("http://test", transport=script)
    made = client.translate(b"photo", on_progress=lambda job: seen.append((job.status, job.progress)))
    assert made.content == b"png"
    assert seen == [("queued", 0.0), ("running", 0.5), ("running", 0.5), ("succeeded", 1.0)]
    assert [request.url.path for request in script.requests] == ["/translate", *["/jobs/1/events"] * 4, "/jobs/1/image"]
    assert pauses == [0.5, 0.5, 1.0]


def test_a_run_is_followed_from_where_its_stream_broke(connect, pauses):
    run = {"id": "1", "family": "cyclegan", "dataset": "d", "step": 2, "total_steps": 2, "progress": 1.0}
    run |= {"eta_s": None, "losses": {"G": 1.0}, "status": "succeeded"}
    metrics = 'event: metrics\ndata: {"step": 1}\nid: 1\n\n'
    script = Script(httpx.Response(200, text=metrics), events(run, name="status"))
    seen = []
    ended = connect("http://test", transport=script).follow("1", seen.append)
    assert ended == doppel.Run.of(run)
    assert seen == [doppel.Event("metrics", {"step": 1}, "1"), doppel.Event("status", run)]
    assert [request.headers.get("Last-Event-ID") for request in script.requests] == [None, "1"]


def test_a_job_that_is_not_known_is_not_waited_for(connect, pauses):
    with pytest.raises(doppel.ApiError) as caught:
        connect("http://test", transport=Script(refused(404))).wait("nothing")
    assert caught.value.status == 404
    assert pauses == []
