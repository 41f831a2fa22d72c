"""What an API process asks Redis over its one connection."""

import asyncio
import contextlib
import signal

import pytest
import redis
from redis.exceptions import ConnectionError, OutOfMemoryError, ResponseError, TimeoutError

from tests.processes import eventually
from worker import events, shared_connection
from worker.contract import JobEvent, Status, Timings
from worker.embedded_redis import EmbeddedRedis
from worker.events import follow_events
from worker.queue_pace import Ended
from worker.shared_connection import SharedConnection, subscribe


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, with a password."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "secret word")
        yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


def within(url, scenario, patience_s=5.0):
    """Run a scenario that is given a shared connection."""

    async def run():
        async with contextlib.aclosing(SharedConnection(url, patience_s=patience_s)) as shared:
            return await scenario(shared)

    return asyncio.run(run())


def test_each_of_many_that_ask_at_once_gets_its_own_replies(redis_url):
    async def scenario(shared):
        asked = (shared.execute(("SET", f"n:{n}", n), ("GET", f"n:{n}")) for n in range(50))
        return await asyncio.gather(*asked)

    replies = within(redis_url, scenario)
    assert [reply[1] for reply in replies] == [str(n).encode() for n in range(50)]


def test_one_who_goes_does_not_shift_the_replies_of_others(redis_url):
    async def scenario(shared):
        await shared.execute(("SET", "a", "1"), ("SET", "b", "2"))
        gone = asyncio.create_task(shared.execute(("GET", "a")))
        stays = asyncio.create_task(shared.execute(("GET", "b")))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert within(redis_url, scenario) == [b"2"]


def test_a_refused_transaction_writes_nothing_and_the_connection_goes_on(redis_url, queue):
    async def scenario(shared):
        with pytest.raises(OutOfMemoryError):
            await shared.transaction([("HSET", "h", "a", "1"), ("SET", "big", b"x" * 100)])
        with pytest.raises(ResponseError):
            await shared.execute(("NO-SUCH-COMMAND",))
        return await shared.execute(("EXISTS", "h", "big"))

    before = queue.connection.config_get("maxmemory")["maxmemory"]
    queue.connection.config_set("maxmemory", "1")
    try:
        assert within(redis_url, scenario) == [0]
    finally:
        queue.connection.config_set("maxmemory", before)


def test_a_password_and_a_database_in_the_address_are_heeded(server):
    async def scenario(shared):
        return await shared.transaction([("SET", "where", "third")])

    with pytest.raises(ConnectionError, match="Authentication required"):
        within(server.url, scenario, patience_s=0)
    within(f"{server.url}?password=secret word&db=3", scenario)
    with redis.Redis.from_url(server.url, password="secret word", db=3) as third:
        assert third.get("where") == b"third"


def test_a_restart_of_redis_is_ridden_out(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.start()

    async def scenario(shared):
        await shared.execute(("SET", "kept", "1"))
        server.process.kill()
        server.process.wait()
        asyncio.get_running_loop().call_later(0.3, server.start)
        return await shared.execute(("GET", "kept"))

    assert within(server.url, scenario, patience_s=60) == [b"1"]
    server.stop()


def test_a_silent_redis_is_given_up(server, monkeypatch):
    monkeypatch.setattr(shared_connection, "SILENCE_S", 0.3)

    async def scenario(shared):
        await shared.execute(("PING",))
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await shared.execute(("PING",))

    within(f"{server.url}?password=secret word", scenario, patience_s=0)


def test_messages_come_to_a_subscriber(redis_url, queue):
    messages = []

    async def scenario():
        subscription = asyncio.create_task(subscribe(redis_url, "news", messages.append))
        while not await asyncio.to_thread(queue.connection.publish, "news", b"first"):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(eventually, lambda: messages)
        subscription.cancel()

    asyncio.run(scenario())
    assert messages == [b"first"]


def test_while_redis_stays_away_that_is_logged_once(tmp_path, caplog):
    async def follow():
        following = asyncio.create_task(
            follow_events(f"unix://{tmp_path}/none.sock", lambda event: None, lambda: None, wanted=())
        )
        while len(caplog.records) < 3:
            await asyncio.sleep(0.01)
        following.cancel()

    with caplog.at_level("DEBUG", "doppel.worker"):
        asyncio.run(follow())
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "DEBUG", "DEBUG"]


def test_only_ends_of_inference_jobs_are_told_whatever_others_publish(monkeypatch):
    ends, done = [], JobEvent(id="a", status=Status.SUCCEEDED, owner="ada", work=3, timings=Timings(inference_ms=1500))
    messages = [
        done.model_dump_json(exclude_none=True).encode(),
        JobEvent(id="b", status=Status.SUCCEEDED).model_dump_json(exclude_none=True).encode(),  # of an import
        b'{"id":"c","status":"failed","owner":"\xff","work":2}',
        b'{"id":"d","status":"failed","work":0}',
        b'{"id":"e","status":"failed","work":%s}' % (b"9" * 5000),
    ]

    async def subscribed(url, channel, read):
        for message in messages:
            read(message)
        await asyncio.Event().wait()

    async def follow():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(follow_events("redis://none", lambda event: None, ends.append, wanted=()), 0.01)

    monkeypatch.setattr(events, "subscribe", subscribed)
    asyncio.run(follow())
    assert ends == [Ended("ada", 3, 1.5), Ended("\ufffd", 2, 0.0)]
