"""A worker whose model computes beside it: it takes the next batch and ends the last one meanwhile."""

import signal

import numpy as np
import pytest

from tests.fake_worker import GO, HELD, RAISES, first_pixel
from tests.processes import eventually, fake_worker
from worker.contract import Status, Task
from worker.inference_queue import rq_queue

GREY = (128, 128, 128)


def submit(queue, color=GREY, size=32):
    return queue.submit(Task(model="fake", height=size, width=size), first_pixel(color, size, size), decode_ms=1)


def statuses(queue, jobs):
    return [state.status for state in queue.states(jobs)]


def all_ended(queue, jobs):
    return all(status.ended for status in statuses(queue, jobs))


@pytest.fixture
def overlapping(redis_url):
    """Two jobs at a time."""
    with fake_worker(redis_url, "--asynchronous", "--max-batch", "2") as child:
        yield child


def test_the_next_batch_is_taken_while_one_is_computed(queue, overlapping):
    first = [submit(queue, HELD)]
    eventually(lambda: statuses(queue, first) == [Status.RUNNING])
    second, third = submit(queue), submit(queue, size=36)
    eventually(lambda: statuses(queue, [second]) == [Status.RUNNING])
    assert statuses(queue, [*first, third]) == [Status.RUNNING, Status.QUEUED]
    queue.connection.set(GO, 1)
    jobs = [*first, second, third]
    eventually(lambda: all_ended(queue, jobs))
    assert statuses(queue, jobs) == [Status.SUCCEEDED] * 3


def test_every_job_gets_its_own_picture_however_they_come(queue, overlapping):
    random = np.random.default_rng(0)
    colors = [(int(level), 1, 2) for level in random.integers(0, 255, 60)]
    sizes = random.choice([32, 36, 40], len(colors))
    jobs = [submit(queue, color, int(size)) for color, size in zip(colors, sizes, strict=True)]
    eventually(lambda: all_ended(queue, jobs))
    for job, color, size in zip(jobs, colors, sizes, strict=True):
        assert (queue.result(job)[0] == 255 - first_pixel(color, size, size)).all()
    rq = rq_queue(queue.connection)
    assert rq.started_job_registry.get_job_ids() == []
    assert sorted(rq.finished_job_registry.get_job_ids()) == sorted(jobs)
    assert rq.intermediate_queue.get_job_ids() == []


def test_a_job_that_fails_spares_its_batch_and_those_beside_it(queue, redis_url):
    jobs = [submit(queue, color) for color in (GREY, GREY, RAISES, GREY, GREY, GREY)]
    with fake_worker(redis_url, "--asynchronous", "--max-batch", "2"):
        eventually(lambda: all_ended(queue, jobs))
    failed = [state.error.detail for state in queue.states(jobs) if state.status is Status.FAILED]
    assert failed == ["RuntimeError: this picture always fails"]
    assert statuses(queue, jobs).count(Status.SUCCEEDED) == 5


def test_a_job_that_is_canceled_while_it_is_computed_stays_canceled(queue, overlapping):
    jobs = [submit(queue, HELD), submit(queue, size=36)]
    eventually(lambda: statuses(queue, jobs) == [Status.RUNNING] * 2)
    for job in jobs:
        assert queue.cancel(job).status is Status.CANCELED
    queue.connection.set(GO, 1)
    later = submit(queue)
    eventually(lambda: all_ended(queue, [later]))
    assert statuses(queue, jobs) == [Status.CANCELED] * 2
    assert [queue.result(job) for job in jobs] == [None, None]


def test_both_batches_of_a_worker_that_died_are_done_by_another(queue, redis_url, janitor):
    jobs = [submit(queue, HELD), submit(queue, size=36)]
    with fake_worker(redis_url, "--asynchronous") as child:
        eventually(lambda: statuses(queue, jobs) == [Status.RUNNING] * 2)
        child.kill()
        child.wait()
    queue.connection.set(GO, 1)
    with fake_worker(redis_url, "--asynchronous"):
        eventually(lambda: all_ended(queue, jobs), within_s=60)
    assert statuses(queue, jobs) == [Status.SUCCEEDED] * 2


def test_sigterm_lets_both_batches_finish_and_leaves_the_rest(queue, overlapping):
    jobs = [submit(queue, HELD), submit(queue, size=36), submit(queue, size=40)]
    eventually(lambda: statuses(queue, jobs)[:2] == [Status.RUNNING] * 2)
    overlapping.send_signal(signal.SIGTERM)
    queue.connection.set(GO, 1)
    assert overlapping.wait(timeout=30) == 0
    assert statuses(queue, jobs) == [Status.SUCCEEDED, Status.SUCCEEDED, Status.QUEUED]
