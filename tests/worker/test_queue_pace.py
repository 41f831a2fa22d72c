"""The queue refuses what it could not begin in time, and gives up old results before it refuses new work."""

import asyncio
import time

import pytest
import redis
from redis.exceptions import ConnectionError

from tests.fake_worker import first_pixel
from tests.processes import eventually, fake_worker
from worker import kept_results, queue_pace
from worker.async_inference_queue import AsyncInferenceQueue
from worker.capacity import Capacity
from worker.contract import Status, Task
from worker.errors import QueueFull, QueueUnreachable
from worker.inference_queue import new_job_id, rq_queue
from worker.job_records import RECORD_TTL_S
from worker.kept_results import KeptResults
from worker.picture_bytes import splices_key
from worker.queue_pace import Ended, QueuePace
from worker.shared_connection import SharedConnection


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""
    now = [1000.0]
    monkeypatch.setattr(queue_pace.time, "monotonic", lambda: now[0])
    return now


def foreseen(
    capacity, owner=None, *, waiting, own=0, own_work=0, before=0, long=False, used=0, memory=0, nbytes=(0, 0)
):
    of_all, of_owner = nbytes
    found = [waiting, of_all, own, of_owner, own_work, before]
    capacity.seen(owner, found, long=long, used=used, memory=memory, claims=[])


def test_a_request_is_refused_if_its_job_would_begin_too_late(clock):
    capacity = Capacity(1000)
    foreseen(capacity, waiting=500, before=500)
    capacity.require_time(None, 0.1, long=False)  # nothing is known yet
    for _ in range(20):
        clock[0] += 0.5
        capacity.ended(Ended())
    foreseen(capacity, waiting=43, before=43)
    assert capacity.seconds_before(None, long=False) == pytest.approx(21.5)
    capacity.require_time(None, 26, long=False)
    with pytest.raises(QueueFull) as refused:
        capacity.require_time(None, 15, long=False)
    # With the one that is being done and itself there are 45, which take 22.5 s: 25 s, to be rather certain.
    assert refused.value.retry_after_s == 10


def test_an_owner_waits_for_its_own_turns_and_not_for_the_whole_queue(clock):
    """Of 100 jobs that wait 90 are a's. Whoever comes next has little before it; a has to share."""
    capacity = Capacity(1000)
    foreseen(capacity, waiting=100)
    for owner in "abcd" * 17:
        clock[0] += 0.5
        capacity.ended(Ended(owner))
    foreseen(capacity, "e", waiting=100, before=4)
    foreseen(capacity, "a", waiting=100, own=90, own_work=90, before=100)
    assert capacity.seconds_before("e", long=False) == pytest.approx(2)
    assert capacity.seconds_before("a", long=False) == pytest.approx(90 * 4 * 0.5)


def test_requests_whose_pictures_are_still_decoded_count(clock):
    capacity = Capacity(1000)
    foreseen(capacity, "a", waiting=0)
    capacity.ended(Ended("a", took_s=2.0))
    with capacity.coming("a"), capacity.coming("a"):
        capacity.require_time("b", 1, long=False)
        with pytest.raises(QueueFull):
            capacity.require_time("a", 7, long=False)  # they take 4 s, itself 2, and one that may be in hand as many
        capacity.require_time("a", 9, long=False)
    capacity.require_time("a", 1, long=False)


def test_large_jobs_count_for_more(clock):
    capacity = Capacity(1000)
    foreseen(capacity, waiting=100)
    for _ in range(20):
        clock[0] += 1
        capacity.ended(Ended(work=4))
    foreseen(capacity, waiting=2, before=200)
    assert capacity.seconds_before(None, long=False) == pytest.approx(50)


def test_retry_after_is_when_there_is_a_place(clock):
    capacity = Capacity(10)
    foreseen(capacity, waiting=9)
    capacity.require_place(None, long=False)
    for owner in "ab" * 34:
        clock[0] += 3
        capacity.ended(Ended(owner))
        foreseen(capacity, waiting=10)
    with pytest.raises(QueueFull) as nobody:
        capacity.require_place(None, long=False)
    assert nobody.value.retry_after_s == 3  # the next end
    foreseen(capacity, "a", waiting=7, own=6)
    with pytest.raises(QueueFull) as greedy:
        capacity.require_place("a", long=False)
    # 3 places are free; with 2 fewer of its own 5 are, for 4 and one more. Each takes 6 s, since b's are done between.
    assert greedy.value.retry_after_s == 12
    foreseen(capacity, "b", waiting=7, own=1)
    capacity.require_place("b", long=False)


def test_an_owner_may_have_half_of_the_memory_whatever_results_are_kept(clock):
    capacity = Capacity(1000)
    foreseen(capacity, "a", waiting=8, own=4, memory=1000, used=880, nbytes=(400, 250))
    capacity.require_share("a", 250, long=False)
    assert capacity.lacking(250) == 230  # for which results are given up
    foreseen(capacity, "a", waiting=8, own=4, memory=1000, used=600, nbytes=(400, 300))
    with pytest.raises(QueueFull, match="of this key"):
        capacity.require_share("a", 250, long=False)
    assert capacity.lacking(250) == 0  # nobody's results are given up for that
    foreseen(capacity, "b", waiting=8, memory=1000, used=600, nbytes=(400, 0))
    capacity.require_share("b", 250, long=False)
    capacity.require_share(None, 250, long=False)


def test_before_anything_waited_the_time_of_a_job_alone_counts(clock):
    pace = QueuePace()
    assert pace.seconds_for(work=10) == pace.seconds_for_jobs(10) == 0
    pace.ended(Ended(work=4, took_s=2.0), waiting=0)
    assert pace.seconds_for(work=10) == pytest.approx(5)
    assert pace.seconds_for_jobs(10) == pytest.approx(20)


def test_pauses_without_work_say_nothing_about_the_pace(clock):
    pace = QueuePace()
    for waiting in [1, 0] * 20:
        clock[0] += 0.5 if waiting == 0 else 30  # the first comes after a pause
        pace.ended(Ended(), waiting=waiting)
    assert pace.seconds_for_jobs(10) == pytest.approx(5)


def test_the_service_answers_503_at_once_while_the_queue_is_slower_than_the_wait(client, monkeypatch):
    from tests.app.test_translate import upload

    monkeypatch.setattr(QueuePace, "seconds_for", lambda self, work: 2.0 * work)
    order = {"model": "tiny"}
    for _ in range(3):
        assert client.post("/translate", files=upload(), data=order | {"wait": "0"}).status_code == 202
    answer = client.post("/translate", files=upload(), data=order | {"wait": "1.5"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "6"  # 6 s, or 6.7 to be rather certain, without the 1.5
    assert client.post("/translate", files=upload(), data=order | {"wait": "0"}).status_code == 202


def test_old_results_make_room_for_new_work_and_fresh_ones_stay(queue, redis_url, monkeypatch):
    monkeypatch.setattr(kept_results, "MORE_BYTES", 1)
    side = 512
    nbytes = side * side * 3
    connection = redis.Redis.from_url(redis_url)
    task = Task(model="fake", height=side, width=side)
    picture = first_pixel((128, 128, 128), side, side)

    def ended(job_id):
        state = queue.state(job_id)
        return state is not None and state.status.ended

    async def add():
        shared = SharedConnection(redis_url, patience_s=5)
        jobs = AsyncInferenceQueue(shared, queue.connection, limit=1000)
        job_id = new_job_id()
        try:
            await jobs.submit(task, picture, decode_ms=1, job_id=job_id)
        finally:
            await jobs.aclose()
        return job_id

    try:
        with fake_worker(redis_url):
            done = []
            for pause_s in (0, 1.1, 1.1):  # their ends are kept in seconds
                done.append(asyncio.run(add()))
                eventually(lambda: ended(done[-1]))
                time.sleep(pause_s)
            used = connection.info("memory")["used_memory"]
            connection.config_set("maxmemory", int((used + nbytes) / 0.9))  # there is room for half a job
            with pytest.raises(QueueFull) as full:
                asyncio.run(add())  # all results are fresh
            assert 1 <= full.value.retry_after_s <= kept_results.FRESH_S
            assert full.value.retry_after_s != QueueFull.retry_after_s  # which is said where nothing is known
            monkeypatch.setattr(kept_results, "FRESH_S", 1.0)
            new = asyncio.run(add())
            eventually(lambda: ended(new))
    finally:
        connection.config_set("maxmemory", 512 << 20)
    assert queue.state(new).status is Status.SUCCEEDED
    assert queue.result(done[0]) is None
    assert queue.result(done[-1]) is not None
    assert queue.result(new) is not None


def test_who_looks_at_the_queue_at_the_same_time_shares_one_look_but_not_its_failure(queue, redis_url, monkeypatch):
    task, picture = Task(model="fake", height=32, width=32), first_pixel((128, 128, 128))
    looks = []

    async def add(count):
        shared = SharedConnection(redis_url, patience_s=5)
        jobs = AsyncInferenceQueue(shared, queue.connection, limit=1000)
        asked = shared.execute

        async def execute(*commands):
            if ("INFO", "memory") in commands:
                looks.append(len(looks))
                if len(looks) == 1:
                    await asyncio.sleep(0.01)  # the others come meanwhile
                    raise ConnectionError("Redis was away for too long")
            return await asked(*commands)

        monkeypatch.setattr(shared, "execute", execute)
        submit = (jobs.submit(task, picture, decode_ms=1, job_id=new_job_id()) for _ in range(count))
        done = await asyncio.gather(*submit, return_exceptions=True)
        await jobs.aclose()
        return done

    first, *others = asyncio.run(add(3))
    assert isinstance(first, QueueUnreachable)
    assert others == [None, None]
    looks[:] = [0]
    assert asyncio.run(add(20)) == [None] * 20
    assert len(looks) == 2


def test_when_no_results_are_left_the_oldest_records_make_room(queue, redis_url, monkeypatch):
    monkeypatch.setattr(kept_results, "MORE_RECORD_BYTES", 0)
    monkeypatch.setattr(kept_results, "RECORDS_AT_ONCE", 2)
    connection = redis.Redis.from_url(redis_url)
    rq = rq_queue(connection)
    ages_s = {"youngest": 1, "third": 100, "second": 200, "first": 300}
    for job_id, age_s in ages_s.items():
        for key in (f"rq:job:{job_id}", f"rq:results:{job_id}", splices_key(job_id, "image/png")):
            connection.set(key, bytes(2000))
        connection.zadd(rq.finished_job_registry.key, {job_id: time.time() + RECORD_TTL_S - age_s})
    connection.zadd(rq.finished_job_registry.key, {f"expired{n}": time.time() - 1 for n in range(5)})

    async def give_up(nbytes):
        shared = SharedConnection(redis_url, patience_s=5)
        try:
            return await KeptResults(rq, shared, record_ttl_s=RECORD_TTL_S).give_up(nbytes)
        finally:
            await shared.aclose()

    def left():
        in_registry = [job_id.decode() for job_id in connection.zrange(rq.finished_job_registry.key, 0, -1)]
        assert connection.dbsize() == 3 * len(in_registry) + 1
        return in_registry

    assert 7_000 < asyncio.run(give_up(7_000)) < 15_000
    assert left() == ["third", "youngest"]
    assert asyncio.run(give_up(1_000_000)) == 0  # they would not suffice
    assert left() == ["third", "youngest"]
    assert 6_000 < asyncio.run(give_up(6_000)) < 7_500
    assert left() == ["youngest"]
