"""Listeners to a run's events."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.app.training.client import events, start, wait
from tests.processes import api_process, eventually
from tests.training import ENDLESS, cyclegan
from worker.connection import connect


def test_events_tell_of_a_run_to_its_end(finished, service):
    run, told = finished
    steps = [int(number) for event, number, _ in told if event == "metrics"]
    assert steps[-1] == 18
    assert steps == sorted(set(steps))
    assert [data["step"] for event, _, data in told if event == "sample"] == [5, 10, 15, 18]
    assert told[-1][0] == "status"
    assert told[-1][2]["status"] == "succeeded"
    later = events(service, run, **{"Last-Event-ID": "15"})
    assert [int(number) for event, number, _ in later if event == "metrics"] == [16, 17, 18]
    assert [data["step"] for event, _, data in later if event == "sample"] == [15, 18]  # 15's may not have come through


@contextlib.contextmanager
def listener(service, run):
    """What a thread hears of a run, once it has begun to; in the end the run is stopped, and there is no more."""
    begun = threading.Event()
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(events, service, run, on_event=begun.set)
        try:
            assert begun.wait(timeout=60)
            yield heard
        finally:
            service.post(f"{run}/stop?force=true")


def test_listeners_of_a_run_that_is_removed_hear_the_end(service):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    with listener(service, run) as heard:
        wait(service, run, "running")
        service.post(f"{run}/stop?force=true")
        eventually(lambda: service.delete(run).status_code == 204)
        assert heard.result()[0][0] in ("status", "metrics")


def test_a_listener_hears_on_when_redis_was_away(service, place):
    before, run = (start(service, "cyclegan", cyclegan(**ENDLESS)) for _ in range(2))
    redis = connect(place.redis_url, patience_s=1).info()["process_id"]
    with listener(service, run) as heard:
        os.kill(redis, signal.SIGSTOP)
        try:
            time.sleep(8)
        finally:
            os.kill(redis, signal.SIGCONT)
        for one in (run, before):
            service.post(f"{one}/stop?force=true")
            wait(service, one, "stopped")
        assert heard.result()[-1][2]["status"] == "stopped"


@pytest.fixture
def server_log(caplog):
    """What the server logs, which it does not pass on to the root logger."""
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_listeners_that_go_away_are_no_errors(service, server_log):
    run = start(service, "cyclegan", cyclegan(**ENDLESS | {"sample_every": 1000, "save_every": 1000}))
    eventually(lambda: service.get(run).json()["step"] > 3)
    host, port = service.base_url.host, service.base_url.port
    for _ in range(4):
        listeners = [socket.create_connection((host, port)) for _ in range(20)]
        for listener in listeners:
            listener.sendall(f"GET {run}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.1)
        for listener in listeners:
            listener.close()
    service.post(f"{run}/stop?force=true")
    wait(service, run, "stopped")
    assert [record for record in server_log.records if record.levelname == "ERROR"] == []


def test_a_listener_does_not_hold_up_the_server_that_is_to_end(service, place):
    run = start(service, "cyclegan", cyclegan(**ENDLESS))
    with api_process(place) as (server, client), client.stream("GET", f"{run}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event: ")
        server.terminate()
        assert list(lines)[-1] == ""  # the end of the stream, in good order
        server.wait(timeout=120)
    service.post(f"{run}/stop?force=true")
    wait(service, run, "stopped")
