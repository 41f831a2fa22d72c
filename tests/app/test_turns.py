"""Slow work that waits for its turn keeps no other call waiting."""

import asyncio
import threading

import httpx
import numpy as np
import pytest

from app import images
from app.main import create_app
from app.turns import Turns
from models.errors import Unavailable, UnknownDataset
from tests.app.test_translate import upload
from tests.pictures import encoded, landscape

SHARED_THREADS = 40  # in which FastAPI runs plain functions: anyio's default


def translate(client):
    large = encoded(landscape(256, 192))  # small pictures are decoded at once
    return client.post("/translate", files=upload(large), data={"model": "tiny", "wait": "0"})


def train(client):
    return client.post("/training/cyclegan", json={"dataset": "none"})


def compare(client):
    return client.post(
        "/training/compare", json={"family": "cyclegan", "base": {"dataset": "none"}, "grid": {"seed": [1, 2]}}
    )


@pytest.mark.parametrize(
    ("call", "turns", "status"), [(translate, "codecs", 202), (train, "starts", 404), (compare, "starts", 404)]
)
def test_other_calls_are_answered_while_more_of_them_wait_than_there_are_threads(
    settings, monkeypatch, call, turns, status
):
    done = threading.Event()

    def slow_prepare(upload):
        assert done.wait(60)
        return images.Prepared(np.zeros((32, 32, 3), np.uint8), delivery=None, note=None)

    def slow_check(requests, caller):
        assert done.wait(60)
        raise UnknownDataset("none", [])

    app = create_app(settings)
    services = app.state.services
    monkeypatch.setattr(images.Upload, "prepare", slow_prepare)
    monkeypatch.setattr(services.runs, "check", slow_check)
    waiting = getattr(services, turns)
    run, asked = waiting.run, 0

    async def counted(*args, **kwargs):
        nonlocal asked
        asked += 1
        return await run(*args, **kwargs)

    monkeypatch.setattr(waiting, "run", counted)

    async def scenario():
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
        async with app.router.lifespan_context(app), client:
            calls = [asyncio.create_task(call(client)) for _ in range(SHARED_THREADS + 10)]
            try:
                while asked < len(calls):
                    await asyncio.sleep(0.01)
                ready = await asyncio.wait_for(client.get("/readyz"), 30)
                assert not any(task.done() for task in calls)
            finally:
                done.set()
            return ready, await asyncio.gather(*calls)

    ready, answers = asyncio.run(scenario())
    assert ready.status_code == 503  # no worker is alive, which is an answer
    assert {answer.status_code for answer in answers} == {status}


def test_no_more_is_done_at_once_than_allowed():
    running, most = 0, 0
    changing = threading.Lock()
    met = threading.Barrier(2)

    def work(n, *, factor):
        nonlocal running, most
        with changing:
            running += 1
            most = max(most, running)
        met.wait(30)  # two do run at once
        with changing:
            running -= 1
        return n * factor

    async def scenario():
        turns = Turns(at_once=2)
        return await asyncio.gather(*(turns.run(work, n, factor=10) for n in range(6)))

    assert asyncio.run(scenario()) == [0, 10, 20, 30, 40, 50]
    assert most == 2


def test_work_that_would_wait_too_long_is_refused():
    done = threading.Event()

    async def scenario():
        turns = Turns(at_once=1, most_waiting=2)
        accepted = [asyncio.create_task(turns.run(done.wait, 60)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await turns.run(done.wait, 60)
        done.set()
        assert await asyncio.gather(*accepted) == [True] * 3
        assert await turns.run(done.wait, 60)  # there is room again
        return refused.value

    assert asyncio.run(scenario()).retry_after_s >= 1
