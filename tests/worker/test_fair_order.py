"""Owners of jobs take turns: whoever queues many has them done in between those of the others."""

import itertools
import random

import pytest

from tests.fake_worker import FakeModel, first_pixel
from worker.contract import PREPARATION_QUEUE, Task
from worker.inference_queue import rq_queue
from worker.inference_worker import InferenceWorker
from worker.janitor import Janitor

SMALL = Task(model="fake", height=32, width=32)  # 1 unit of work
LARGE = Task(model="fake", height=512, width=512)  # 17
LONG = Task(model="fake", height=512, width=512, tiled=True)  # as much, in steps


class Starter:
    """What a worker takes from the queue, job by job."""

    def __init__(self, queue, **options):
        runner = FakeModel(queue.connection, 0, 0)
        settings = {"device": "none", "max_batch": 1, "batch_wait_ms": 0, "result_ttl_s": 60} | options
        self.starter = InferenceWorker(queue.connection, runner, **settings)._starter

    def take(self, at_most=1):
        return [started.id for started in self.starter.start_next(at_most)]

    def take_short(self):
        """As between the steps of a long job."""
        return [started.id for started in self.starter.start(self.starter.pick_short(), 1)]


@pytest.fixture
def submit(queue):
    """Queue jobs, whose ids begin with their owner's name."""
    numbers = itertools.count()

    def submit(owner, task=SMALL, many=1):
        ids = [f"{owner}{next(numbers)}" for _ in range(many)]
        for job_id in ids:
            queue.submit(task, first_pixel((1, 2, 3)), job_id=job_id, owner=None if owner == "_" else owner)
        return ids[-1]

    return submit


def order(queue):
    """Whose jobs wait, in the order in which they will be taken."""
    return "".join(job_id[0] for job_id in rq_queue(queue.connection).get_job_ids())


def test_owners_take_turns(queue, submit):
    for owner, many in [("a", 6), ("b", 2), ("_", 3)]:
        submit(owner, many=many)
    assert order(queue) == "ab_ab_a_aaa"  # jobs without owner have one turn


def test_one_who_comes_late_is_next_but_not_all_the_time(queue, submit):
    submit("a", many=20)
    worker = Starter(queue)
    for _ in range(5):
        worker.take()
    last = submit("b")
    assert queue.state(last).position == 0
    worker.take()
    submit("b", many=3)
    assert order(queue).startswith("ababab")


def test_who_was_away_has_saved_up_no_turns(queue, submit):
    submit("a")
    submit("b", many=12)
    worker = Starter(queue)
    for _ in range(8):
        worker.take()
    submit("a", many=3)
    assert order(queue) == "abababbb"


def test_large_jobs_are_longer_turns(queue, submit):
    submit("a", LARGE, many=3)
    submit("b", many=40)
    submit("c", LARGE, many=2)
    # b has 17 small ones done in the time of a large one: its first beside theirs, 16 until their next.
    assert order(queue) == "abc" + 16 * "b" + "abc" + 16 * "b" + "a" + 6 * "b"


def test_turns_go_on_between_the_steps_of_a_long_job(queue, submit):
    submit("a", LONG)
    submit("c", LONG)
    submit("a")
    submit("b", many=9)
    worker = Starter(queue)
    worker.take()
    for _ in range(5):
        worker.take_short()
    submit("d", many=3)
    submit("e", LONG)
    # A newcomer's pictures take turns with b's, and a long job with the other long ones.
    assert order(queue) == "cedbdbdbba"


def test_batches_are_of_several_owners(queue, submit):
    submit("a", many=9)
    submit("b", many=2)
    submit("c", Task(model="other", height=32, width=32))
    batch = Starter(queue).take(at_most=6)
    assert [job_id[0] for job_id in batch] == ["a", "b", "a", "b", "a", "a"]
    assert order(queue) == "caaaaa"


def test_what_is_canceled_costs_no_turn(queue, submit):
    submit("a", many=4)
    canceled = [submit("b") for _ in range(9)]
    for job_id in canceled:
        queue.cancel(job_id)
    submit("b")
    assert order(queue) == "abaaa"


def test_what_is_canceled_gives_no_turn_back_that_was_used(queue, submit):
    submit("a", LARGE)
    submit("b", many=20)
    worker = Starter(queue)
    [running] = worker.take()
    queue.cancel(submit("a"))
    queue.cancel(running)
    submit("a")
    assert (
        order(queue) == 18 * "b" + "a" + 2 * "b"
    )  # a large job is 17 small ones, and of equal turns the first is first


@pytest.mark.parametrize("canceled", [[1, 2, 3], [3, 2, 1], [2, 3, 1], [2, 1, 3]])
def test_in_whichever_order_jobs_are_canceled_they_cost_no_turn(queue, submit, canceled):
    submit("a", many=6)
    jobs = [submit("b") for _ in range(4)]
    for n in canceled:
        queue.cancel(jobs[n])
    submit("b", many=2)
    assert order(queue) == "abababaaa"


def test_canceling_an_upload_gives_no_turn_back(queue, submit):
    submit("a", many=3)
    submit("b", many=3)
    worker = Starter(queue)
    for _ in range(5):
        worker.take()  # of b one is left
    uploads = rq_queue(queue.connection, PREPARATION_QUEUE)
    upload = uploads.enqueue("none.such", meta={"kind": "dataset", "model": "", "owner": "a"})
    submit("a")
    queue.cancel(upload.id)
    submit("a", many=2)
    submit("b", many=2)
    assert uploads.get_job_ids() == []
    assert order(queue) == "bababa"


def test_an_empty_queue_remembers_nobody(queue, submit):
    submit("a", many=9)
    submit("b")
    worker = Starter(queue)
    while worker.take():
        pass
    submit("b", many=2)
    submit("a", many=2)
    assert order(queue) == "baba"


def test_a_job_whose_worker_died_is_the_next(queue, submit, janitor):
    submit("a", many=5)
    worker = Starter(queue)
    [lost] = worker.take()
    submit("b", many=3)
    janitor.recover(worker.starter._worker.name)
    assert rq_queue(queue.connection).get_job_ids()[0] == lost
    assert worker.take() == [lost]


def test_a_job_that_was_taken_and_not_started_is_the_next_and_has_no_turn(queue, submit, monkeypatch):
    monkeypatch.setattr("worker.janitor.INTERMEDIATE_GRACE_S", -1)
    submit("a", many=3)
    worker, rq = Starter(queue), rq_queue(queue.connection)
    worker.take()
    lost = queue.connection.lmove(rq.key, rq.intermediate_queue_key).decode()
    last = submit("b")  # before what was lost
    Janitor(queue.connection).sweep()
    assert rq.get_job_ids()[:2] == [lost, last]
    assert queue.connection.hget(f"rq:job:{lost}", "turn") is None


def test_foreign_records_do_not_keep_anybody_from_coming_in(queue, submit):
    submit("a", many=30)
    name = rq_queue(queue.connection).key
    queue.connection.set("rq:job:string", "no record")
    for place, foreign in [("BEFORE", b"\xff"), ("AFTER", "string"), ("AFTER", "gone")]:
        queue.connection.linsert(name, place, queue.connection.lindex(name, 15), foreign)
    submit("b", many=2)
    ids = queue.connection.lrange(name, 0, -1)
    assert [job_id[:1] for job_id in ids if job_id[:1] == b"b"] == [b"b", b"b"]
    assert {ids.index(job_id) for job_id in ids if job_id[:1] == b"b"} <= set(range(20))


def test_nobody_starves_and_everybody_gets_the_same_whatever_comes_when(queue, submit):
    """Against a list of lists that is taken from in rotation."""
    draw = random.Random(3)
    worker, served = Starter(queue), {"a": 0, "b": 0, "c": 0}
    for owner in served:
        submit(owner, many=2)
    for _ in range(20):
        [job_id] = worker.take()
        served[job_id[0]] += 1
        for owner in draw.sample("abc", 3):  # all keep jobs waiting, the first of them many
            submit(owner, many=4 if owner == "a" and draw.random() < 0.3 else 1)
    assert max(served.values()) - min(served.values()) <= 1
