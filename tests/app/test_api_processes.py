"""Several processes of one API, as real processes that share a socket."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests.app.test_jobs import events, start
from tests.app.test_translate import picture, upload
from tests.fake_worker import GO, HELD
from tests.processes import children, environment, eventually, fake_worker, free_port, process, ready


@pytest.fixture
def served(settings, redis_url):
    """``doppel api`` with two processes and a worker: its process, the address, and the two processes' ids."""
    port = free_port()
    env = environment(settings) | {"DOPPEL_PORT": str(port), "DOPPEL_API_PROCESSES": "2"}
    with fake_worker(redis_url), process(sys.executable, "-m", "app.cli", "api", env=env) as server:
        yield server, f"http://127.0.0.1:{port}", eventually(lambda: pair(server))


def pair(server, gone=()):
    """The server's two processes, without those that are ``gone``; None while there are not two."""
    found = set(children(server.pid)) - set(gone)
    return sorted(found) if len(found) == 2 else None


@contextmanager
def connected(address, *, suspended):
    """A client whose one connection the other process of the API has accepted."""
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        os.kill(suspended, signal.SIGSTOP)
        try:
            eventually(lambda: ready(client))
        finally:
            os.kill(suspended, signal.SIGCONT)
        yield client


def test_a_job_is_looked_up_followed_and_canceled_through_another_process_than_it_came_by(served, queue):
    _, address, (one, other) = served
    with connected(address, suspended=other) as first, connected(address, suspended=one) as second:
        held = start(first, picture(HELD))
        followed = events(second, held["links"]["events"])
        assert next(followed)["id"] == held["id"]
        with connected(address, suspended=one) as third:
            eventually(lambda: third.get(held["links"]["self"]).json()["status"] == "running")
            assert third.delete(held["links"]["self"]).json()["status"] == "canceled"
        assert [entry["status"] for entry in followed][-1] == "canceled"
        queue.connection.set(GO, 1)
        done = start(first)
        assert [entry["status"] for entry in events(second, done["links"]["events"])][-1] == "succeeded"
        assert second.get(done["links"]["image"]).content == first.get(done["links"]["image"]).content


def test_a_process_that_dies_costs_the_others_nothing_and_is_replaced(served, queue):
    server, address, (doomed, other) = served
    with connected(address, suspended=doomed) as client:
        answers = []
        data = {"model": "tiny", "wait": "60"}
        waiting = threading.Thread(
            target=lambda: answers.append(client.post("/translate", files=upload(picture(HELD)), data=data))
        )
        waiting.start()
        eventually(lambda: queue.workers(seen_within_s=60) and queue.connection.keys("doppel:picture:*:in"))
        os.kill(doomed, signal.SIGKILL)
        queue.connection.set(GO, 1)
        waiting.join(timeout=60)
        assert [answer.status_code for answer in answers] == [200]
    [replacement] = set(eventually(lambda: pair(server, gone=[doomed]))) - {other}
    with connected(address, suspended=other) as client:
        assert client.post("/translate", files=upload(), data={"model": "tiny"}).status_code == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 0
    assert not any(map(psutil.pid_exists, (other, replacement)))
