"""Requests that are sent again under one ``Idempotency-Key``."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from app import idempotency
from models.errors import Unavailable
from tests.app.test_translate import PHOTO, picture, upload
from tests.fake_worker import GO, HELD
from tests.pictures import decoded, encoded, landscape
from tests.processes import api, api_process, eventually, fake_worker
from worker import contract
from worker.async_inference_queue import AsyncInferenceQueue
from worker.errors import QueueFull
from worker.request_keys import KeyedRequest, Turn
from worker.shared_connection import SharedConnection

KEY = {"Idempotency-Key": "one"}
RUN = {"family": "cyclegan", "base": {"dataset": "nothing"}}


def translate(client, data=PHOTO, headers=KEY, boundary=None, **fields):
    if boundary:
        headers = headers | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return client.post("/translate", files=upload(data), data={"model": "tiny", **fields}, headers=headers)


async def full(*arguments, **options):
    raise QueueFull("The queue is full.")


def queued(queue):
    return queue.connection.llen("rq:queue:doppel-inference")


def running(queue):
    """The id of a job that a worker has started; None before."""
    jobs = [key.decode() for key in queue.connection.keys("rq:job:*") if queue.connection.type(key) == b"hash"]
    started = [key for key in jobs if queue.connection.hget(key, "status") == b"started"]
    return started[0].removeprefix("rq:job:") if started else None


def test_a_repeat_is_answered_by_the_first_ones_job(service):
    first, second = translate(service, boundary="a1"), translate(service, boundary="b2")
    assert first.status_code == second.status_code == 200, second.text
    assert first.headers["X-Job-Id"] == second.headers["X-Job-Id"]
    assert (decoded(second.content) == 255 - np.asarray(landscape())).all()
    as_json = translate(service, headers=KEY | {"Accept": "application/json"})
    assert (as_json.status_code, as_json.json()["id"]) == (200, first.headers["X-Job-Id"])
    assert translate(service, headers={}).headers["X-Job-Id"] != first.headers["X-Job-Id"]


def test_a_repeat_may_wait_longer(service, queue):
    first = translate(service, picture(HELD), wait="0")
    again = translate(service, picture(HELD), wait="0.1")
    assert first.status_code == again.status_code == 202
    queue.connection.set(GO, 1)
    last = translate(service, picture(HELD), wait="60")
    assert last.status_code == 200
    assert {first.json()["id"], again.json()["id"]} == {last.headers["X-Job-Id"]}
    assert "wait" in translate(service, picture(HELD), wait="long").json()["detail"]


@pytest.mark.parametrize(
    "other",
    [
        lambda client: translate(client, encoded(landscape(32, 32)), wait="0"),
        lambda client: translate(client, wait="0", resolution="64"),
        lambda client: client.post("/style/code", files={"style": ("a.png", PHOTO)}, headers=KEY),
        lambda client: client.post("/training/compare", json=RUN, headers=KEY),
    ],
    ids=["picture", "field", "form of another call", "JSON"],
)
def test_the_same_key_with_another_request_is_refused(client, other):
    assert translate(client, wait="0").status_code == 202
    answer = other(client)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Idempotency-Key: this key came with another request")


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "tab\there", b"\xe9"])
def test_a_malformed_key_is_refused(client, queue, key):
    answer = translate(client, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert "1 to 255 visible ASCII characters" in answer.json()["detail"]
    assert not queued(queue)


def test_any_other_key_is_taken(client):
    headers = {"Idempotency-Key": '"' + "~!" * 126 + '"'}
    ids = {translate(client, headers=headers, wait="0").json()["id"] for _ in range(2)}
    assert len(ids) == 1


def test_clients_do_not_meet_under_one_key(client):
    mine, other = ({"X-Client": name * 16} for name in "ab")
    ids = [translate(client, headers=KEY | whose, wait="0").json()["id"] for whose in (mine, other, mine, {})]
    assert len(set(ids)) == 3
    assert ids[0] == ids[2]


def test_requests_at_the_same_moment_make_one_job(client, queue):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: translate(client, wait="0"), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert queued(queue) == 1


def test_a_refused_request_does_not_use_up_its_key(client):
    assert translate(client, b"no picture", wait="0").status_code == 422
    assert translate(client, wait="0", fit="no").status_code == 422
    answer = translate(client, wait="0")
    assert answer.status_code == 202
    assert translate(client, wait="0").json()["id"] == answer.json()["id"]


def test_a_repeat_of_a_canceled_or_deleted_job_makes_no_other(client, queue):
    job = translate(client, wait="0").json()
    client.delete(job["links"]["self"])
    assert translate(client).status_code == 409
    queue.connection.delete(f"rq:job:{job['id']}")
    assert translate(client).status_code == 410
    assert not queued(queue)


def test_a_result_that_expired_is_gone(service, queue):
    job = translate(service).headers["X-Job-Id"]
    queue.connection.delete(f"doppel:picture:{job}:out")
    answer = translate(service)
    assert answer.status_code == 410
    assert "with a new key" in answer.json()["detail"]


def test_a_client_that_lost_the_connection_comes_back_for_its_job(service, queue):
    with pytest.raises(httpx.ReadTimeout):
        service.post("/translate", files=upload(picture(HELD)), data={"model": "tiny"}, headers=KEY, timeout=0.5)
    [job] = eventually(lambda: [key for key in queue.connection.keys("rq:job:*") if len(key) == len("rq:job:") + 32])
    again = translate(service, picture(HELD), wait="0")
    assert again.json()["status"] in ("queued", "running")
    queue.connection.set(GO, 1)
    last = translate(service, picture(HELD))
    assert last.status_code == 200, last.text
    assert f"rq:job:{last.headers['X-Job-Id']}" == job.decode()


def test_the_job_is_the_same_after_the_worker_and_the_api_were_killed(settings, redis_url, queue):
    with fake_worker(redis_url) as worker, api_process(settings) as (server, client), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(translate, client, picture(HELD))
        job = eventually(lambda: running(queue))
        worker.kill()
        server.kill()
        with pytest.raises(httpx.TransportError):
            waiting.result()
    with api(settings) as client, fake_worker(redis_url):
        queue.connection.set(GO, 1)
        answer = translate(client, picture(HELD), wait="60")
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Job-Id"] == job


def test_a_request_whose_api_died_is_taken_up_by_its_repeat(client, redis_url, queue, monkeypatch):
    """It had drawn a job's id and queued nothing. A repeat waits for it while its lease lasts."""
    monkeypatch.setattr(idempotency, "BUSY_S", 0.2)
    asked = []
    begin = KeyedRequest.begin

    async def overheard(self, *arguments):
        asked[:] = arguments
        return await begin(self, *arguments)

    async def die():
        shared = SharedConnection(redis_url, patience_s=1)
        request = KeyedRequest(shared)
        assert await begin(request, *asked) is Turn.NEW
        request.close()
        await shared.aclose()
        return request.id

    monkeypatch.setattr(KeyedRequest, "begin", overheard)
    monkeypatch.setattr(AsyncInferenceQueue, "submit", full)
    assert translate(client, wait="0").status_code == 503
    monkeypatch.undo()
    monkeypatch.setattr(idempotency, "BUSY_S", 0.2)
    job_id = asyncio.run(die())
    answer = translate(client, wait="0")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    queue.connection.delete(*queue.connection.keys("*:lease"))
    assert translate(client, wait="0").json()["id"] == job_id
    assert translate(client, wait="0").json()["id"] == job_id
    assert queued(queue) == 1


def test_a_request_that_was_taken_for_dead_writes_nothing(redis_url, queue):
    async def both():
        shared = SharedConnection(redis_url, patience_s=1)
        slow, repeat = KeyedRequest(shared), KeyedRequest(shared)
        command = ("RPUSH", "made", "it")
        assert await slow.begin("key", "print") is Turn.NEW
        assert await slow.begin("key", "print") is Turn.NEW  # its first reply was lost
        queue.connection.delete(*queue.connection.keys("*:lease"))
        assert await repeat.begin("key", "print") is Turn.ABANDONED
        assert repeat.id == slow.id
        with pytest.raises(Unavailable):
            await slow.write([command])
        await slow.release()
        await repeat.write([command])
        await repeat.write([command])  # its first reply was lost
        for request in (slow, repeat):
            request.close()
        await shared.aclose()

    asyncio.run(both())
    assert queue.connection.lrange("made", 0, -1) == [b"it"]


def test_a_request_without_a_key_asks_redis_nothing_more(client, queue, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a request without a key is no keyed request")

    monkeypatch.setattr(KeyedRequest, "__init__", refuse)
    assert translate(client, headers={}, wait="0").status_code == 202
    assert not queue.connection.keys(f"{contract.REQUESTS}*")


def test_every_post_takes_the_header(client):
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            names = [parameter["name"] for parameter in operation.get("parameters", ())]
            assert ("Idempotency-Key" in names) is (method == "post"), path
