"""Pictures that wait to be decoded or encoded keep no other call waiting."""

import asyncio
import threading

import httpx
import numpy as np

from app import images
from app.codecs import Codecs
from app.main import create_app
from tests.app.test_translate import upload

SHARED_THREADS = 40  # in which FastAPI runs plain functions: anyio's default


def test_other_calls_are_answered_while_more_pictures_wait_than_there_are_threads(settings, monkeypatch):
    done = threading.Event()

    def slow_decode(data, geometry, **limits):
        assert done.wait(60)
        return np.zeros((32, 32, 3), np.uint8)

    monkeypatch.setattr(images, "decode", slow_decode)
    app = create_app(settings)
    codecs = app.state.services.codecs
    run, asked = codecs.run, 0

    async def counted(*args, **kwargs):
        nonlocal asked
        asked += 1
        return await run(*args, **kwargs)

    monkeypatch.setattr(codecs, "run", counted)

    async def scenario():
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
        async with app.router.lifespan_context(app), client:
            fields = {"model": "tiny", "wait": "0"}
            uploads = [
                asyncio.create_task(client.post("/translate", files=upload(), data=fields))
                for _ in range(SHARED_THREADS + 10)
            ]
            try:
                while asked < len(uploads):
                    await asyncio.sleep(0.01)
                ready = await asyncio.wait_for(client.get("/readyz"), 30)
                assert not any(task.done() for task in uploads)
            finally:
                done.set()
            return ready, await asyncio.gather(*uploads)

    ready, answers = asyncio.run(scenario())
    assert ready.json()["detail"] == "No worker is alive."
    assert [answer.status_code for answer in answers] == [202] * len(answers)


def test_no_more_pictures_are_decoded_at_once_than_allowed():
    running, most = 0, 0
    changing = threading.Lock()
    met = threading.Barrier(2)

    def decode(n, *, factor):
        nonlocal running, most
        with changing:
            running += 1
            most = max(most, running)
        met.wait(30)  # two do run at once
        with changing:
            running -= 1
        return n * factor

    async def scenario():
        codecs = Codecs(at_once=2)
        return await asyncio.gather(*(codecs.run(decode, n, factor=10) for n in range(6)))

    assert asyncio.run(scenario()) == [0, 10, 20, 30, 40, 50]
    assert most == 2
