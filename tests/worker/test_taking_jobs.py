"""How a worker waits for jobs, and what becomes of a job when it stops waiting at that moment."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import TimeoutError
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.fake_worker import FakeModel, first_pixel
from tests.processes import eventually
from worker import contract
from worker.connection import connect
from worker.contract import Status, Task
from worker.direct_connection import DirectConnection
from worker.embedded_redis import EmbeddedRedis
from worker.inference_queue import rq_queue
from worker.inference_worker import InferenceWorker
from worker.picture_bytes import input_key

TASK = Task(model="fake", height=32, width=32)


class StepsModel(FakeModel):
    """Its long job never ends, but is closed."""

    def __init__(self, connection):
        super().__init__(connection, 0, 0)
        self.closed = 0

    def run_in_steps(self, task):
        try:
            while True:
                yield from super().run_in_steps(task)
        finally:
            self.closed += 1


def worker_of(queue, model=None):
    return InferenceWorker(
        queue.connection,
        model or FakeModel(queue.connection, 0, 0),
        device="none",
        max_batch=4,
        batch_wait_ms=5,
        result_ttl_s=60,
    )


def submit(queue, **task):
    return queue.submit(TASK.model_copy(update=task), first_pixel((1, 2, 3)), decode_ms=1)


def retries_left(queue, job):
    return Job.fetch(job, queue.connection, serializer=JSONSerializer).retries_left


def submit_large(queue, width=256):
    """A job whose picture is fetched after the job has been started."""
    picture = first_pixel((1, 2, 3), 256, width)
    return queue.submit(TASK.model_copy(update={"height": 256, "width": width}), picture, decode_ms=1)


@pytest.mark.parametrize(("submit", "round_trip"), [(submit, 1), (submit_large, 1), (submit_large, 2)])
def test_a_job_that_is_taken_when_a_signal_comes_is_handed_back_at_no_cost(
    submit, round_trip, queue, signals, monkeypatch
):
    worker = worker_of(queue)
    job, later = submit(queue), submit(queue, width=36)
    asked = worker._redis.execute
    left = iter(range(round_trip - 1, -1, -1))

    def interrupted(*commands):
        replies = asked(*commands)
        if next(left):
            return replies
        monkeypatch.setattr(worker._redis, "execute", asked)
        raise StopRequested  # as RQ's handler of signals does

    monkeypatch.setattr(worker._redis, "execute", interrupted)
    worker.run()
    assert rq_queue(queue.connection).get_job_ids() == [job, later]
    assert rq_queue(queue.connection).started_job_registry.get_job_ids() == []
    assert queue.state(job).status is Status.QUEUED
    assert retries_left(queue, job) == contract.MAX_TRIES - 1


def test_a_job_that_another_worker_left_between_queue_and_start_is_taken(queue):
    job = submit(queue)
    waiting = rq_queue(queue.connection)
    queue.connection.lmove(waiting.key, waiting.intermediate_queue_key)
    assert [started.id for started in worker_of(queue)._starter.wait(1, at_most=4)] == [job]
    assert queue.connection.llen(waiting.intermediate_queue_key) == 0
    assert queue.state(job).status is Status.RUNNING


def test_a_job_whose_picture_is_gone_says_why(queue, signals, monkeypatch):
    """It has expired, or Redis has dropped it, or it is not known."""
    old, dropped, lost = (submit(queue, width=32 + 4 * n) for n in range(3))
    queue.connection.delete(*(input_key(job) for job in (old, dropped, lost)))
    queue.connection.hset(Job.key_for(old), "created_at", "2026-01-01T00:00:00.000000Z")
    stats = iter([{"evicted_keys": 3}, {"evicted_keys": 0}])
    info = queue.connection.info
    monkeypatch.setattr(queue.connection, "info", lambda of: next(stats) if of == "stats" else info(of))
    worker_of(queue).work(burst=True, logging_level="ERROR")
    assert "within 24 hours" in queue.state(old).error.detail
    assert "full" in queue.state(dropped).error.detail
    assert "lost" in queue.state(lost).error.detail


def test_large_pictures_are_fetched_and_one_that_expired_meanwhile_fails_alone(queue, monkeypatch):
    worker = worker_of(queue)
    jobs = [submit_large(queue) for _ in range(3)]
    asked = worker._redis.execute

    def late(*commands):
        if commands[0][0] == "GET":
            queue.connection.delete(input_key(jobs[1]))
        return asked(*commands)

    monkeypatch.setattr(worker._redis, "execute", late)
    started = worker._starter.wait(1, at_most=4)
    assert [one.id for one in started] == jobs
    assert [one.packed for one in started] == [queue.connection.get(input_key(job)) for job in jobs]
    assert [one.packed is None for one in started] == [False, True, False]


def test_a_canceled_long_job_is_closed(queue, signals):
    model = StepsModel(queue.connection)
    job = submit(queue, tiled=True)

    def cancel():
        eventually(lambda: queue.state(job).progress > 0)
        queue.cancel(job)

    canceler = threading.Thread(target=cancel)
    canceler.start()
    worker_of(queue, model).work(burst=True, logging_level="ERROR")
    canceler.join()
    assert model.closed == 1
    assert queue.state(job).status is Status.CANCELED


def test_scripts_that_redis_forgot_are_given_to_it_again(queue):
    direct = DirectConnection(queue.connection, "return 7", patience_s=5)
    call = ("EVALSHA", queue.connection.script_load("return 7"), 0)
    assert direct.execute(call) == [7]
    queue.connection.script_flush()
    assert direct.execute(("PING",), call) == [b"PONG", 7]


@pytest.fixture
def server(tmp_path):
    """A Redis of the test's own."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


def test_a_direct_connection_rides_out_a_restart_of_redis(server):
    with connect(server.url, patience_s=0) as client, ThreadPoolExecutor() as pool:
        direct = DirectConnection(client, "return 1", patience_s=60)
        direct.execute(("SET", "kept", "1"))
        server.process.kill()
        server.process.wait()
        asked = pool.submit(direct.execute, ("GET", "kept"))
        server.start()
        assert asked.result() == [b"1"]
        direct.close()


def test_a_direct_connection_gives_a_silent_redis_up(server):
    with connect(server.url, patience_s=0) as client:
        direct = DirectConnection(client, patience_s=0)
        direct.execute(("PING",))
        direct._socket().settimeout(0.3)
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            direct.execute(("PING",))
