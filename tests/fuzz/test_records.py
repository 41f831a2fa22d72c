"""Records that no version of Doppel writes: the worker lives, each job ends or is put aside, and the API answers."""

import random

from app.schemas import Job
from tests.fake_worker import first_pixel
from tests.fuzz.records import CLIENT, poison, put, put_result
from tests.processes import eventually, fake_worker
from worker.contract import Status, Task
from worker.inference_queue import rq_queue

RECORDS = 30
ANSWERS = (200, 204, 404, 406, 409, 410, 503)


def test_hostile_records_end_and_the_worker_lives(queue, redis_url, janitor):
    redis, lists = queue.connection, rq_queue(queue.connection)
    rng = random.Random(14)
    for n in range(RECORDS):
        put(redis, f"hostile{n}", rng)
    sound = queue.submit(Task(model="fake", height=32, width=32), first_pixel((128, 128, 128)), decode_ms=1)
    waiting = lists.key, lists.intermediate_queue_key
    with fake_worker(redis_url) as worker:
        eventually(lambda: not any(map(redis.llen, waiting)) and not redis.zcard(lists.started_job_registry.key))
        assert worker.poll() is None
    assert queue.state(sound).status is Status.SUCCEEDED
    for n in range(RECORDS):
        if redis.type(f"rq:job:hostile{n}") == b"hash":
            state = queue.state(f"hostile{n}")  # None: it says that it is of another queue
            assert state is None or state.status.ended or state.started_at is None, n


def test_the_api_answers_whatever_lies_in_redis(client, redis_url, queue):
    rng = random.Random(15)
    poison(queue.connection, rng)
    for n in range(RECORDS):
        (put if n % 2 else put_result)(queue.connection, f"hostile{n}", rng)
        for method, path in (("GET", ""), ("GET", "/image"), ("GET", "/events"), ("DELETE", "")):
            if path == "/events" and n % 2:
                continue  # it goes on for as long as the job is queued
            answer = client.request(method, f"/jobs/hostile{n}{path}")
            assert answer.status_code in ANSWERS, (n, method, path, answer.text)
            if method == "GET" and not path and answer.status_code == 200:
                Job.model_validate_json(answer.content)
    for path in ("/status", "/metrics", "/readyz", "/jobs", "/models", "/training"):
        assert client.get(path, headers={"X-Client": CLIENT}).status_code in ANSWERS, path
