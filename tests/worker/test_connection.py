"""The check of a Redis that somebody else has set up."""

import contextlib
import logging
import signal
import threading
from unittest.mock import Mock

import pytest
import redis
from redis.exceptions import ConnectionError, OutOfMemoryError

from app.settings import Settings
from tests.processes import eventually, file_server
from worker.connection import connect, require_redis, with_password
from worker.embedded_redis import EmbeddedRedis
from worker.errors import QueueUnreachable, RedisUnusable
from worker.preparation_process import EstimateWorker


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server whose options a test may change."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def options(own_server):
    with redis.Redis.from_url(own_server.url) as client:
        before = client.config_get("maxmemory*")
        yield client.config_set
        client.config_set("requirepass", "")
        for name, value in before.items():
            if name in ("maxmemory", "maxmemory-policy"):
                client.config_set(name, value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("maxmemory", "1mb", "only 1 MB of memory"),
        ("maxmemory-policy", "volatile-lru", "CONFIG SET maxmemory-policy noeviction"),
        ("requirepass", "secret", "password in DOPPEL_REDIS_URL"),
    ],
)
def test_a_redis_that_would_fail_is_refused_at_the_start(own_server, options, name, value, words):
    require_redis(own_server.url)
    options(name, value)
    with pytest.raises(RedisUnusable, match=words) as refused:
        require_redis(own_server.url)
    assert "\n" not in str(refused.value)


def test_a_redis_without_a_memory_limit_never_evicts(own_server, options):
    options("maxmemory", "0")
    options("maxmemory-policy", "allkeys-lru")
    require_redis(own_server.url)


def test_an_old_redis_is_refused(own_server, monkeypatch):
    monkeypatch.setattr(redis.Redis, "info", lambda self: {"redis_version": "5.0.14", "maxmemory": 0})
    with pytest.raises(RedisUnusable, match=r"version 5\.0\.14; Doppel needs 6\.2"):
        require_redis(own_server.url)


def test_another_server_at_the_address_is_no_redis(tmp_path):
    with file_server(tmp_path) as url, pytest.raises(RedisUnusable, match="not a Redis"):
        require_redis(url.replace("http", "redis"))


def test_a_redis_that_is_not_there_may_yet_come(tmp_path):
    for url in ("redis://:secret@127.0.0.1:1/0", f"unix://{tmp_path}/none.sock"):
        with pytest.raises(QueueUnreachable, match="no Redis answers at") as away:
            require_redis(url)
        assert "secret" not in str(away.value)


def test_a_worker_waits_for_room_in_a_full_redis(own_server, options, caplog):
    options("maxmemory", "1")
    with connect(own_server.url, patience_s=0) as connection, caplog.at_level(logging.WARNING):
        worker = EstimateWorker(connection)
        birth = threading.Thread(target=worker.register_birth)
        birth.start()
        try:
            eventually(lambda: "Redis is full" in caplog.text)
            assert not connection.exists(worker.key)
        finally:
            options("maxmemory", "512mb")
            birth.join()
        assert connection.exists(worker.key)


@pytest.mark.parametrize(
    ("error", "traceback"),
    [(ConnectionError("Redis is away"), False), (OutOfMemoryError("Redis is full"), False), (KeyError("a bug"), True)],
)
def test_a_heartbeat_that_finds_no_redis_is_a_line_in_the_log(redis_url, monkeypatch, caplog, error, traceback):
    with connect(redis_url, patience_s=0) as connection:
        worker = EstimateWorker(connection)
        monkeypatch.setattr(worker, "_beat", Mock(side_effect=error))
        assert worker.dequeue_job_and_maintain_ttl(None) is None  # with which heartbeats begin
        eventually(lambda: "heartbeat failed" in caplog.text)
        worker.stop_heartbeats()
    assert ("Traceback" in caplog.text) is traceback


def test_a_worker_that_is_told_to_end_takes_no_further_job_whatever_code_the_signal_finds(
    redis_url, signals, monkeypatch
):
    taken = []

    def take(*_):
        with contextlib.suppress(Exception):  # what RQ raises in the signal's handler
            signal.raise_signal(signal.SIGTERM)
        taken.append(None)
        return (None, None) if len(taken) == 1 else None  # which ends the worker, too

    with connect(redis_url, patience_s=0) as connection:
        worker = EstimateWorker(connection)
        monkeypatch.setattr(worker, "dequeue_job_and_maintain_ttl", take)
        monkeypatch.setattr(worker, "execute_job", Mock())
        worker.work(logging_level="ERROR")
    assert len(taken) == 1


def test_the_password_of_a_file_goes_into_an_address_that_has_none(tmp_path):
    file = tmp_path / "password"
    file.write_text("p@ss/word\n")
    with_it = Settings(redis_url="redis://redis:6379/1", redis_password_file=file).redis_url
    assert redis.ConnectionPool.from_url(with_it).connection_kwargs["password"] == "p@ss/word"
    for url in ("redis://:other@redis:6379", "redis://redis?password=other", "unix:///redis.sock"):
        assert with_password(url, file) == url
    assert with_password("redis://user@redis", file) == "redis://user:p%40ss%2Fword@redis"
    file.write_text("\n")
    for path in (file, tmp_path / "none"):
        with pytest.raises(ValueError, match="password file"):
            with_password("redis://redis", path)
