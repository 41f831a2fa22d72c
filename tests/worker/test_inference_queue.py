"""The client's end of the queue."""

import time

import pytest

from tests.blocking_queue import BlockingQueue
from tests.fake_worker import first_pixel
from worker.contract import WORKERS, Status, Task, WorkerReport
from worker.errors import QueueFull, QueueUnreachable
from worker.picture_bytes import pack, unpack

PICTURE = first_pixel((1, 2, 3), 8, 12)
TASK = Task(model="fake", height=8, width=12)


def test_a_submitted_job_is_queued_behind_those_before_it(queue):
    first, second = (queue.submit(TASK, PICTURE, decode_ms=3) for _ in range(2))
    assert [queue.state(job).position for job in (first, second)] == [0, 1]
    state = queue.state(second)
    assert (state.status, state.model, state.timings.decode_ms) == (Status.QUEUED, "fake", 3)


def test_a_full_queue_takes_no_more(redis_url):
    small = BlockingQueue(redis_url, limit=2)
    small.submit(TASK, PICTURE, decode_ms=1)
    small.submit(TASK, PICTURE, decode_ms=1)
    with pytest.raises(QueueFull, match="no more than 2"):
        small.submit(TASK, PICTURE, decode_ms=1)


def test_an_unknown_job_has_no_state_and_cannot_be_canceled(queue):
    assert queue.state("nothing") is None
    assert queue.cancel("nothing") is None
    assert queue.result("nothing") is None


def test_a_redis_that_is_not_there_is_said_so(tmp_path):
    lost = BlockingQueue(f"unix://{tmp_path}/none.sock", patience_s=0.2)
    with pytest.raises(QueueUnreachable):
        lost.workers(seen_within_s=1)
    with pytest.raises(QueueUnreachable):
        lost.submit(TASK, PICTURE, decode_ms=1)


def test_only_workers_heard_of_lately_are_listed(queue):
    for name, age_s in (("fresh", 1), ("stale", 100)):
        report = WorkerReport(name=name, pid=1, host="h", device="cpu", loaded=[], seen_at=time.time() - age_s)
        queue.connection.hset(WORKERS, name, report.model_dump_json())
    assert [worker.name for worker in queue.workers(seen_within_s=10)] == ["fresh"]


def test_pictures_survive_packing():
    assert all((out == PICTURE).all() for out in unpack(pack(PICTURE, PICTURE)))


@pytest.mark.parametrize("data", [b"1234567", pack(PICTURE)[:-1]])
def test_bytes_that_are_no_packed_picture_are_refused(data):
    with pytest.raises(ValueError, match=r"not a picture|cut short"):
        unpack(data)
