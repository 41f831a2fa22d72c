"""The inference worker, as its queue sees it."""

import contextlib
import signal
import time

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer

from models.serving.style_guide import StyleGuide
from tests.fake_worker import GO, HELD, HUGE, RAISES, first_pixel
from tests.processes import eventually, fake_worker
from worker import contract
from worker.contract import FailureCode, JobEvent, Status, Task
from worker.errors import QueueFull
from worker.inference_queue import rq_queue
from worker.inference_worker import worker_name
from worker.tasks import failure_of

GREY = (128, 128, 128)


def submit(queue, color=GREY, model="fake", size=32):
    picture = first_pixel(color, size, size)
    return queue.submit(Task(model=model, height=size, width=size), picture, decode_ms=1)


def statuses(queue, jobs):
    return [state.status for state in queue.states(jobs)]


def all_ended(queue, jobs):
    return all(status.ended for status in statuses(queue, jobs))


@pytest.fixture
def worker(redis_url):
    with fake_worker(redis_url) as child:
        yield child


def test_a_job_ends_with_its_picture(queue, worker):
    job = submit(queue)
    eventually(lambda: all_ended(queue, [job]))
    state = queue.state(job)
    assert state.status is Status.SUCCEEDED
    assert state.progress == 1
    assert state.created_at <= state.started_at <= state.finished_at
    assert state.timings.queue_ms >= 0
    assert state.timings.inference_ms >= 0
    assert (queue.result(job)[0] == 255 - first_pixel(GREY)).all()


def test_compatible_jobs_run_in_one_batch_and_others_do_not(queue, redis_url):
    jobs = [submit(queue) for _ in range(5)]
    strangers = [submit(queue, size=36), submit(queue, model="other")]
    with fake_worker(redis_url, "--fixed-ms", "100"):
        eventually(lambda: all_ended(queue, jobs + strangers))
    assert ran_together(queue, jobs)
    assert not any(ran_together(queue, [jobs[0], stranger]) for stranger in strangers)
    assert not ran_together(queue, strangers)


def ran_together(queue, jobs):
    """Whether one worker, which does one batch after the other, did these in one."""
    states = queue.states(jobs)
    return max(state.started_at for state in states) < min(state.finished_at for state in states)


def test_no_more_than_max_batch_jobs_run_together(queue, redis_url):
    jobs = [submit(queue) for _ in range(4)]
    with fake_worker(redis_url, "--fixed-ms", "200", "--max-batch", "2"):
        eventually(lambda: all_ended(queue, jobs))
    pairs = sorted(jobs, key=lambda job: queue.state(job).started_at)
    assert ran_together(queue, pairs[:2])
    assert ran_together(queue, pairs[2:])
    assert not ran_together(queue, pairs[1:3])


def test_a_job_that_fails_fails_alone(queue, redis_url):
    jobs = [submit(queue), submit(queue, RAISES), submit(queue)]
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, jobs))
    assert statuses(queue, jobs) == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert "this picture always fails" in queue.state(jobs[1]).error.detail


def test_rq_knows_how_every_job_ended(queue, redis_url):
    jobs = [submit(queue), submit(queue, RAISES), submit(queue)]
    queue.cancel(jobs[2])
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, jobs))
    rq = rq_queue(queue.connection)
    assert rq.started_job_registry.get_job_ids() == []
    assert rq.finished_job_registry.get_job_ids() == [jobs[0]]
    assert rq.failed_job_registry.get_job_ids() == [jobs[1]]
    assert rq.canceled_job_registry.get_job_ids() == [jobs[2]]
    assert len(rq) == 0


def test_a_canceled_queued_job_never_runs(queue, redis_url):
    job = submit(queue)
    assert queue.cancel(job).status is Status.CANCELED
    with fake_worker(redis_url):
        other = submit(queue)
        eventually(lambda: all_ended(queue, [other]))
    assert queue.state(job).status is Status.CANCELED
    assert queue.state(job).started_at is None
    assert queue.result(job) is None


def test_a_canceled_running_job_stays_canceled_and_the_rest_of_its_batch_succeeds(queue, redis_url):
    jobs = [submit(queue, HELD), submit(queue)]
    with fake_worker(redis_url):
        eventually(lambda: statuses(queue, jobs) == [Status.RUNNING] * 2)
        assert queue.cancel(jobs[0]).status is Status.CANCELED
        queue.connection.set(GO, 1)
        eventually(lambda: queue.state(jobs[1]).status.ended)
        later = submit(queue)
        eventually(lambda: all_ended(queue, [later]))
    assert statuses(queue, jobs) == [Status.CANCELED, Status.SUCCEEDED]
    assert queue.result(jobs[0]) is None


def test_a_job_that_was_canceled_never_ends_otherwise(queue, redis_url):
    """Whenever the cancellation comes: before the start, at one with it, after it, or at one with the end."""
    with fake_worker(redis_url, "--fixed-ms", "5"):
        started = time.monotonic()
        first = submit(queue)
        eventually(lambda: all_ended(queue, [first]), every_s=0.001)
        took_s = time.monotonic() - started
        canceled = []
        for n in range(300):
            job = submit(queue)
            time.sleep(took_s * (n % 30) / 20)
            if queue.cancel(job).status is Status.CANCELED:
                canceled.append(job)
        last = submit(queue)
        eventually(lambda: all_ended(queue, [last]))
    assert len(canceled) > 0
    assert set(statuses(queue, canceled)) == {Status.CANCELED}
    assert not any(queue.result(job) for job in canceled)


def test_sigterm_lets_the_batch_finish(queue, redis_url):
    jobs = [submit(queue, HELD), submit(queue)]
    with fake_worker(redis_url) as worker:
        eventually(lambda: statuses(queue, jobs) == [Status.RUNNING] * 2)
        waiting = submit(queue, model="other")  # which can't join the batch
        worker.send_signal(signal.SIGTERM)
        queue.connection.set(GO, 1)
        assert worker.wait(timeout=120) == 0
    assert statuses(queue, jobs) == [Status.SUCCEEDED] * 2
    assert queue.state(waiting).status is Status.QUEUED
    assert queue.workers(seen_within_s=60) == []


def test_a_job_that_names_another_function_is_refused(queue, worker):
    rq = rq_queue(queue.connection)
    job = rq.enqueue("os.system", "true", meta={"model": "fake"})
    eventually(lambda: all_ended(queue, [job.id]))
    assert "'os.system' is not one that this worker runs" in queue.state(job.id).error.detail


def test_a_job_that_is_not_understood_fails_and_its_worker_lives(queue, worker):
    rq = rq_queue(queue.connection)
    odd = [rq.enqueue(contract.RUN_TASK, colour="red", meta={}), rq.enqueue(contract.RUN_TASK, meta={"model": [1]})]
    eventually(lambda: all_ended(queue, [job.id for job in odd]))
    assert statuses(queue, [job.id for job in odd]) == [Status.FAILED] * 2
    job = submit(queue)
    eventually(lambda: all_ended(queue, [job]))
    assert worker.poll() is None


def test_heartbeats_keep_the_lease_of_a_batch_that_outlasts_it(queue, redis_url, janitor):
    with fake_worker(redis_url, "--fixed-ms", str((contract.LEASE_S + 2) * 1000)):
        job = submit(queue)
        eventually(lambda: all_ended(queue, [job]))
    assert queue.state(job).status is Status.SUCCEEDED
    assert Job.fetch(job, queue.connection, serializer=JSONSerializer).retries_left == contract.MAX_TRIES - 1


def submit_video(queue, frames=12):
    guides = [StyleGuide(domain=0, seed=seed) for seed in (1, 2)]
    task = Task(kind="video", model="fake", height=32, width=32, guides=guides, frames=frames)
    return queue.submit(task, first_pixel(GREY), decode_ms=1)


def test_short_jobs_pass_a_long_one(queue, redis_url):
    with fake_worker(redis_url, "--fixed-ms", "100"):
        video = submit_video(queue, frames=50)
        eventually(lambda: queue.state(video).status is Status.RUNNING)
        short = [submit(queue), submit(queue, model="other")]
        eventually(lambda: all_ended(queue, short))
        eventually(lambda: queue.state(video).progress > 0)
        eventually(lambda: all_ended(queue, [video]))
    assert statuses(queue, [video, *short]) == [Status.SUCCEEDED] * 3
    assert all(queue.state(job).finished_at < queue.state(video).finished_at for job in short)
    assert len(queue.result(video)) == 51


def test_long_jobs_do_not_pass_each_other(queue, redis_url):
    first, second = submit_video(queue, frames=4), submit_video(queue, frames=4)
    with fake_worker(redis_url, "--fixed-ms", "50"):
        eventually(lambda: all_ended(queue, [first, second]))
    one, two = queue.states([first, second])
    assert one.finished_at <= two.started_at


def test_a_long_job_that_is_canceled_stops_soon(queue, redis_url):
    with fake_worker(redis_url, "--fixed-ms", "100"):
        video = submit_video(queue, frames=3000)  # which take 300 s
        eventually(lambda: queue.state(video).progress > 0)
        queue.cancel(video)
        later = submit_video(queue, frames=1)  # which does not pass it
        eventually(lambda: all_ended(queue, [later]))
    assert statuses(queue, [video, later]) == [Status.CANCELED, Status.SUCCEEDED]
    assert queue.result(video) is None


def test_a_long_job_whose_worker_died_is_tried_again(queue, redis_url, janitor):
    with fake_worker(redis_url, "--fixed-ms", "100") as worker:
        video = submit_video(queue, frames=50)
        eventually(lambda: queue.state(video).progress > 0)
        worker.kill()
        worker.wait()
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, [video]))
    assert statuses(queue, [video]) == [Status.SUCCEEDED]


def submit_tiled(queue):
    return queue.submit(Task(model="fake", height=32, width=32, tiled=True), first_pixel(GREY), decode_ms=1)


def test_a_picture_in_tiles_that_is_canceled_stops_between_two_tiles(queue, redis_url):
    with fake_worker(redis_url, "--fixed-ms", "300"):
        picture = submit_tiled(queue)
        eventually(lambda: queue.state(picture).progress > 0)
        queue.cancel(picture)
        later = submit_video(queue, frames=1)  # which does not pass it
        eventually(lambda: all_ended(queue, [later]))
    assert statuses(queue, [picture, later]) == [Status.CANCELED, Status.SUCCEEDED]
    assert queue.state(picture).progress < 1
    assert queue.result(picture) is None


def test_a_picture_in_tiles_whose_worker_died_is_made_once_by_the_next(queue, redis_url, janitor):
    with queue.connection.pubsub() as events:
        events.subscribe(contract.EVENTS)
        with fake_worker(redis_url, "--fixed-ms", "300") as worker:
            picture = submit_tiled(queue)
            eventually(lambda: queue.state(picture).progress > 0)
            worker.kill()
            worker.wait()
        janitor.recover(worker_name(worker.pid))
        with fake_worker(redis_url), fake_worker(redis_url):  # of which one has nothing to do
            eventually(lambda: all_ended(queue, [picture]))
        told = []
        while message := events.get_message(timeout=1):
            if message["type"] == "message":
                told.append(JobEvent.model_validate_json(message["data"]))
    assert [event.status for event in told if event.id == picture and event.status.ended] == [Status.SUCCEEDED]
    assert (queue.result(picture)[0] == 255 - first_pixel(GREY)).all()
    assert Job.fetch(picture, queue.connection, serializer=JSONSerializer).retries_left == contract.MAX_TRIES - 2


def test_a_job_that_takes_too_much_memory_or_time_fails_alone(queue, redis_url):
    before = [submit(queue), submit(queue, HUGE), submit(queue), submit_tiled(queue)]
    with fake_worker(redis_url, "--memory-mb", "2000", "--fixed-ms", "30", "--max-job-s", "0.1") as worker:
        jobs = [*before, submit(queue)]
        eventually(lambda: all_ended(queue, jobs))
        assert worker.poll() is None
    errors = [queue.state(job).error for job in jobs]
    codes = [error and error.code for error in errors]
    assert codes == [None, FailureCode.OUT_OF_MEMORY, None, FailureCode.TIMED_OUT, None]
    assert "0.1 s" in errors[3].detail


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("Exception from cpu_memory.cpp:257:\nFailed to allocate 562331648 bytes of memory\n"),
    ],
    ids=["numpy", "torch", "OpenVINO"],
)
def test_every_engines_word_for_full_memory_is_understood(error):
    assert failure_of(error).code is FailureCode.OUT_OF_MEMORY
    assert failure_of(RuntimeError("another")).code is FailureCode.TRANSLATION_FAILED


def test_sigterm_hands_a_long_job_back_at_no_cost(queue, redis_url):
    with fake_worker(redis_url, "--fixed-ms", "100") as worker:
        video = submit_video(queue, frames=300)
        eventually(lambda: queue.state(video).progress > 0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=120) == 0
    waiting = submit(queue)
    assert [(state.status, state.position) for state in queue.states([video, waiting])] == [
        (Status.QUEUED, 0),
        (Status.QUEUED, 1),
    ]
    with fake_worker(redis_url):
        eventually(lambda: all_ended(queue, [video, waiting]))
    assert statuses(queue, [video, waiting]) == [Status.SUCCEEDED] * 2
    assert Job.fetch(video, queue.connection, serializer=JSONSerializer).retries_left == contract.MAX_TRIES - 1


def test_a_long_job_that_was_tried_before_runs_alone(queue, redis_url, janitor):
    with fake_worker(redis_url, "--fixed-ms", "100") as worker:
        video = submit_video(queue, frames=50)
        eventually(lambda: queue.state(video).progress > 0)
        worker.kill()
        worker.wait()
    janitor.recover(worker_name(worker.pid))
    with fake_worker(redis_url, "--fixed-ms", "100"):
        eventually(lambda: queue.state(video).status is Status.RUNNING)
        short = submit(queue)
        eventually(lambda: all_ended(queue, [short]))
    assert queue.state(video).status is Status.SUCCEEDED
    assert queue.state(short).started_at >= queue.state(video).finished_at


def test_the_room_for_long_results_is_kept_free_until_they_are_there(queue):
    queue.connection.config_set("maxmemory", 64 << 20)
    try:
        accepted = 0
        with contextlib.suppress(QueueFull):
            while submit_video(queue, frames=3000):  # 9 MB each
                accepted += 1
        assert 2 <= accepted <= 6
        for job in rq_queue(queue.connection).get_job_ids():
            queue.cancel(job)
        submit_video(queue, frames=3000)
    finally:
        queue.connection.config_set("maxmemory", 512 << 20)


def test_a_result_that_finds_no_room_fails_and_its_worker_lives(queue, redis_url):
    with fake_worker(redis_url, "--fixed-ms", "20") as worker:
        video = submit_video(queue, frames=200)
        eventually(lambda: queue.state(video).progress > 0)
        queue.connection.config_set("maxmemory", 1)  # byte: no command that takes memory is run
        try:
            eventually(lambda: all_ended(queue, [video]))
            assert "no room for the result" in queue.state(video).error.detail
            assert worker.poll() is None
        finally:
            queue.connection.config_set("maxmemory", 512 << 20)
