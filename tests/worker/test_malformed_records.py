"""Records in Redis that no version of Doppel writes fail alone, once, and stop nobody."""

import json
import time
import zlib

import pytest
from rq.job import Job

from tests.fake_worker import first_pixel
from tests.processes import eventually, fake_worker
from worker import contract
from worker.connection import connect
from worker.contract import Status, Task
from worker.inference_queue import rq_queue
from worker.janitor import Janitor
from worker.malformed_records import REFUSED
from worker.picture_bytes import input_key
from worker.training_queue import TrainerReport, TrainingQueue

PICTURE = first_pixel((128, 128, 128))

FIELDS = {
    "created_at": "yesterday",
    "enqueued_at": "tomorrow",
    "timeout": "long",
    "retries_left": "some",
    "result_ttl": "ever",
    "meta": "no JSON",
    "data": "no task",
    "origin": b"\xff",
    "doppel_batch": b"\xff",
}


def submit(queue, **task):
    return queue.submit(Task(model="fake", height=32, width=32, **task), PICTURE, decode_ms=1)


def ended(queue, job_id):
    state = queue.state(job_id)
    return state is not None and state.status.ended


def has_ended(redis, job_id):
    """Whether the record says so, of whichever queue it says that it is."""
    return redis.hget(Job.key_for(job_id), "status") in (b"finished", b"failed")


def rewritten(queue, job_id, **changes):
    """Have a queued job ask for another task than the API would."""
    key = Job.key_for(job_id)
    name, instance, _, arguments = json.loads(zlib.decompress(queue.connection.hget(key, "data")))
    queue.connection.hset(key, "data", zlib.compress(json.dumps([name, instance, [], arguments | changes]).encode()))


def test_a_malformed_record_fails_alone_and_the_worker_lives(queue, redis_url, janitor):
    redis = queue.connection
    jobs = {}
    for field, value in FIELDS.items():
        jobs[field] = submit(queue)
        redis.hset(Job.key_for(jobs[field]), field, value)
    jobs["cut"] = submit(queue)
    redis.set(input_key(jobs["cut"]), b"\x20\0\0\0\x20\0\0\0abc")
    jobs["endless"] = submit(queue)
    guides = [{"domain": 0, "seed": 1}] * 2
    rewritten(queue, jobs["endless"], kind="video", frames=1_000_000_000, guides=guides)
    jobs["tall"] = submit(queue)
    rewritten(queue, jobs["tall"], height=-1)
    waiting = rq_queue(redis).key
    redis.set(Job.key_for("string"), "x")
    redis.rpush(waiting, "string", b"\xff\xfe", "gone")
    sound = submit(queue)
    with fake_worker(redis_url) as worker:
        eventually(lambda: ended(queue, sound))
        eventually(lambda: not [name for name, job_id in jobs.items() if not has_ended(redis, job_id)], within_s=30)
        eventually(lambda: not redis.llen(waiting) and not redis.llen(rq_queue(redis).intermediate_queue_key))
        assert worker.poll() is None
    assert queue.state(sound).status is Status.SUCCEEDED
    for name in ("data", "cut", "endless", "tall"):
        assert queue.state(jobs[name]).status is Status.FAILED, name
        assert queue.state(jobs[name]).error.detail, name
    refused = [json.loads(entry) for entry in redis.lrange(REFUSED, 0, -1)]
    assert sorted(entry["why"] for entry in refused) == ["its id is not text", "its key holds a string, no record"]


def test_a_job_that_no_worker_starts_is_given_up(queue, redis_url, monkeypatch):
    monkeypatch.setattr("worker.janitor.INTERMEDIATE_GRACE_S", -1)
    janitor = Janitor(connect(redis_url, patience_s=1))
    job_id = submit(queue)
    lists = rq_queue(queue.connection)
    taken = 0
    while not ended(queue, job_id):
        assert queue.connection.lmove(lists.key, lists.intermediate_queue_key) is not None
        taken += 1
        janitor.sweep()
    assert taken == contract.MAX_TRIES + 1
    assert queue.state(job_id).status is Status.FAILED
    assert queue.connection.llen(lists.key) == queue.connection.llen(lists.intermediate_queue_key) == 0


@pytest.mark.parametrize("place", ["intermediate", "started"])
def test_the_janitor_sweeps_on_past_what_is_no_job(queue, redis_url, place):
    redis, lists = queue.connection, rq_queue(queue.connection)
    redis.set(Job.key_for("string"), "x")
    for raw_id in (b"string", b"\xff"):
        if place == "intermediate":
            redis.lpush(lists.intermediate_queue_key, raw_id)
        else:
            redis.zadd(lists.started_job_registry.key, {raw_id + b":execution": 1})
    Janitor(connect(redis_url, patience_s=1)).sweep()
    assert redis.llen(REFUSED) == 2
    assert redis.llen(lists.intermediate_queue_key) == redis.zcard(lists.started_job_registry.key) == 0


def test_a_claim_that_is_no_number_counts_as_none(queue):
    queue.connection.hset(contract.CLAIMS, mapping={"a": "many", "b": "-5"})
    submit(queue)
    assert queue.workers(seen_within_s=1) == []


def test_a_report_from_the_future_is_not_believed_and_forgotten(queue, redis_url):
    report = TrainerReport(
        name="forged", pid=1, host="h", memory_mb=1, gpu_memory_mb=[], cores=1, seen_at=time.time() + 1e6
    )
    queue.connection.hset(contract.TRAINERS, "forged", report.model_dump_json())
    assert TrainingQueue(queue.connection).trainers(seen_within_s=60) == []
    Janitor(connect(redis_url, patience_s=1)).sweep()
    assert not queue.connection.hexists(contract.TRAINERS, "forged")
