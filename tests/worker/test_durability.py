"""Nothing that was accepted is lost, whatever dies."""

import signal
import time

import pytest
from redis.exceptions import LockError
from rq import SimpleWorker

from tests.blocking_queue import BlockingQueue
from tests.fake_worker import GO, HELD, KILLS, first_pixel
from tests.processes import eventually, fake_worker
from worker import contract
from worker.connection import connect
from worker.contract import Status, Task
from worker.embedded_redis import EmbeddedRedis
from worker.errors import QueueFull
from worker.inference_queue import WORKER_DIED, rq_queue
from worker.inference_worker import worker_name
from worker.janitor import Janitor

GREY = (128, 128, 128)


def submit(queue, color=GREY):
    picture = first_pixel(color)
    return queue.submit(Task(model="fake", height=32, width=32), picture, decode_ms=1)


def statuses(queue, jobs):
    return [state.status for state in queue.states(jobs)]


def all_ended(queue, jobs):
    return all(status.ended for status in statuses(queue, jobs))


def test_jobs_of_a_killed_worker_are_done_by_the_next_one(queue, redis_url, janitor):
    jobs = [submit(queue, HELD)] + [submit(queue) for _ in range(3)]
    with fake_worker(redis_url) as worker:
        eventually(lambda: statuses(queue, jobs) == [Status.RUNNING] * 4)
        worker.kill()
    queue.connection.set(GO, 1)
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, jobs))
    assert statuses(queue, jobs) == [Status.SUCCEEDED] * 4


def test_a_worker_that_was_silent_for_too_long_leaves_its_job_as_it_was(queue, redis_url, janitor):
    job = submit(queue, HELD)
    with fake_worker(redis_url) as worker:
        eventually(lambda: statuses(queue, [job]) == [Status.RUNNING])
        worker.send_signal(signal.SIGSTOP)
        eventually(lambda: statuses(queue, [job]) == [Status.QUEUED])
        queue.connection.set(GO, 1)
        worker.send_signal(signal.SIGCONT)
        eventually(lambda: all_ended(queue, [job]))
    assert statuses(queue, [job]) == [Status.SUCCEEDED], queue.state(job).error


def test_jobs_of_a_worker_known_to_be_dead_are_queued_again_at_once(queue, redis_url):
    jobs = [submit(queue, HELD), submit(queue)]
    with fake_worker(redis_url) as worker:
        eventually(lambda: statuses(queue, jobs) == [Status.RUNNING] * 2)
        worker.kill()
        worker.wait()
    assert Janitor(connect(redis_url, patience_s=1)).recover(worker_name(worker.pid)) == 2
    assert statuses(queue, jobs) == [Status.QUEUED] * 2


def test_a_job_that_outlived_a_worker_can_be_canceled_while_it_runs_again(queue, redis_url):
    job = submit(queue, HELD)
    with fake_worker(redis_url) as worker:
        eventually(lambda: statuses(queue, [job]) == [Status.RUNNING])
        worker.kill()
        worker.wait()
    Janitor(connect(redis_url, patience_s=1)).recover(worker_name(worker.pid))
    with fake_worker(redis_url):
        eventually(lambda: statuses(queue, [job]) == [Status.RUNNING])
        assert queue.cancel(job).status is Status.CANCELED
        queue.connection.set(GO, 1)
        later = submit(queue)
        eventually(lambda: all_ended(queue, [later]))
    assert statuses(queue, [job]) == [Status.CANCELED]


def test_a_picture_that_kills_its_worker_fails_and_takes_no_other_job_with_it(queue, redis_url, janitor):
    jobs = [submit(queue), submit(queue, KILLS), submit(queue)]
    for _ in range(3):
        with fake_worker(redis_url) as worker:
            worker.wait(timeout=120)
        janitor.recover(worker_name(worker.pid))
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, jobs))
    assert statuses(queue, jobs) == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert queue.state(jobs[1]).error == WORKER_DIED
    assert queue.state(jobs[1]).finished_at is not None
    assert queue.connection.exists(f"doppel:picture:{jobs[1]}:in") == 0


def test_a_job_taken_from_the_queue_by_a_worker_that_died_before_starting_it_is_queued_again(queue, redis_url, janitor):
    job = submit(queue)
    rq_key = "rq:queue:doppel-inference"
    queue.connection.lmove(rq_key, f"{rq_key}:intermediate")
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, [job]))
    assert queue.state(job).status is Status.SUCCEEDED


def test_a_restart_of_redis_loses_no_accepted_job(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.start()
    queue = BlockingQueue(server.url, patience_s=10)
    with fake_worker(server.url, "--fixed-ms", "50", "--max-batch", "2"):
        jobs = []
        for number in range(40):
            jobs.append(submit(queue))
            if number in (10, 25):
                server.process.kill()
                server.process.wait()
                server.start()
        janitor = Janitor(connect(server.url, patience_s=1))
        deadline = time.monotonic() + 120
        while not all_ended(queue, jobs) and time.monotonic() < deadline:
            janitor.sweep()
            time.sleep(0.2)
        assert statuses(queue, jobs) == [Status.SUCCEEDED] * 40
    server.stop()


def test_reports_of_another_version_are_forgotten(queue):
    connection = queue.connection
    connection.hset(contract.WORKERS, "old", '{"of": "another version"}')
    Janitor(connection).sweep()
    assert connection.hkeys(contract.WORKERS) == []


def test_the_memory_for_pictures_is_never_overrun(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.start()
    queue = BlockingQueue(server.url, patience_s=1)
    queue.connection.config_set("maxmemory", "4mb")
    picture = first_pixel(GREY, 256, 256)
    task = Task(model="fake", height=256, width=256)
    accepted = []

    def fill():
        for _ in range(40):
            accepted.append(queue.submit(task, picture, decode_ms=1))

    with pytest.raises(QueueFull, match="fill the 4 MB"):
        fill()
    assert accepted
    assert [state.status for state in queue.states(accepted)] == [Status.QUEUED] * len(accepted)
    server.stop()


def test_a_supervisor_does_not_wait_for_a_sweep_that_goes_on(queue):
    janitor = Janitor(queue.connection)
    dead = SimpleWorker([rq_queue(queue.connection)], name="dead", connection=queue.connection)
    dead.register_birth()
    queue.connection.set(contract.JANITOR_LOCK, "another")
    with pytest.raises(LockError):
        janitor.recover(dead.name, patience_s=0.05)
    queue.connection.delete(contract.JANITOR_LOCK)
    assert janitor.recover(dead.name, patience_s=0.05) == 0
