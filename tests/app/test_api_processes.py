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
    """``doppel api`` with two processes and a worker: its process, and the address."""
    port = free_port()
    env = environment(settings) | {"DOPPEL_PORT": str(port), "DOPPEL_API_PROCESSES": "2"}
    with fake_worker(redis_url), process(sys.executable, "-m", "app.cli", "api", env=env) as server:
        eventually(lambda: len(children(server.pid)) == 2)
        yield server, f"http://127.0.0.1:{port}"


@contextmanager
def connected_to(process_id, server, address):
    """A client whose one connection this process of the API has accepted."""
    others = [psutil.Process(other) for other in children(server.pid) if other != process_id]
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        for other in others:
            other.suspend()
        try:
            eventually(lambda: ready(client))
        finally:
            for other in others:
                other.resume()
        yield client


def test_a_job_is_looked_up_followed_and_canceled_through_another_process_than_it_came_by(served, queue):
    server, address = served
    one, other = children(server.pid)
    with connected_to(one, server, address) as first, connected_to(other, server, address) as second:
        held = start(first, picture(HELD))
        followed = events(second, held["links"]["events"])
        assert next(followed)["id"] == held["id"]
        with connected_to(other, server, address) as third:
            eventually(lambda: third.get(held["links"]["self"]).json()["status"] == "running")
            assert third.delete(held["links"]["self"]).json()["status"] == "canceled"
        assert [entry["status"] for entry in followed][-1] == "canceled"
        queue.connection.set(GO, 1)
        done = start(first)
        assert [entry["status"] for entry in events(second, done["links"]["events"])][-1] == "succeeded"
        assert second.get(done["links"]["image"]).content == first.get(done["links"]["image"]).content


def test_a_process_that_dies_costs_the_others_nothing_and_is_replaced(served, queue):
    server, address = served
    doomed, other = children(server.pid)
    with connected_to(other, server, address) as client:
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
    eventually(lambda: len(children(server.pid)) == 2 and doomed not in children(server.pid))
    [replacement] = set(children(server.pid)) - {other}
    with connected_to(replacement, server, address) as client:
        assert client.post("/translate", files=upload(), data={"model": "tiny"}).status_code == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 0
    assert not any(map(psutil.pid_exists, (other, replacement)))
