"""The trainer's process: what happens to a run on SIGTERM, on kill, and when Redis is away."""

import errno
import os
import signal
import subprocess
import sys
import time
from unittest.mock import MagicMock

import pytest
from rq.job import Job, JobStatus

from models.store.options import CycleGANOptions
from models.store.run_life import Turn
from models.store.run_lock import UNLOCK_WAIT_S, is_locked, lock_run
from models.store.run_status import RunState, RunStatus, now, read_status, write_status
from models.store.runs import RunStore
from models.training.launch import CANNOT_WRITE
from tests.processes import ROOT, environment, eventually, process, running
from tests.training import CYCLEGAN, ENDLESS, add_dataset
from worker.connection import connect
from worker.contract import HEARTBEAT_S, MAX_TRIES
from worker.embedded_redis import EmbeddedRedis
from worker.janitor import Janitor
from worker.training_process import Trainer
from worker.training_queue import TrainingQueue, attempt_id, rq_training_queue


@pytest.fixture
def training_queue(queue):
    return TrainingQueue(queue.connection)


@pytest.fixture
def store(settings):
    return RunStore(settings.data_dir)


@pytest.fixture
def run(store, settings, training_queue):
    """An endless run that waits, and its folder."""
    options = CycleGANOptions(dataset=add_dataset(settings.data_dir), **(CYCLEGAN | ENDLESS))
    run_id = store.create(options, RunStatus(created_at=now(), updated_at=now(), attempts=1))
    training_queue.submit(run_id, 1)
    return run_id, store.folder(run_id).path


def another(run_id, store, training_queue):
    """A run like this one, which waits behind it."""
    queued = store.create(store.folder(run_id).options(), RunStatus(created_at=now(), updated_at=now(), attempts=1))
    training_queue.submit(queued, 1)
    return queued


def trainer(settings):
    return process(sys.executable, "-m", "app.cli", "trainer", env=environment(settings))


def step(folder):
    return read_status(folder).step


def test_sigterm_puts_the_run_back_at_the_head_of_the_queue(run, settings, queue, training_queue, store):
    run_id, folder = run
    with trainer(settings) as first:
        eventually(lambda: step(folder) > 3)
        another(run_id, store, training_queue)
        seen = set()
        first.terminate()
        while first.poll() is None:
            seen.add(read_status(folder).status)
            time.sleep(0.005)  # a training takes a hundred times longer to end
    assert first.returncode == 0
    assert seen <= {RunState.RUNNING, RunState.QUEUED}  # never stopped
    left = read_status(folder)
    assert (left.status, left.attempts, left.last_checkpoint) == (RunState.QUEUED, 1, left.step)
    assert training_queue.position(run_id, 1) == 0
    assert tries_left(queue, attempt_id(run_id, 1)) == MAX_TRIES - 1
    with trainer(settings):
        eventually(lambda: step(folder) > left.step)


def test_sigterm_before_the_training_handles_signals_puts_the_run_back(run, settings, queue, training_queue):
    run_id, folder = run
    with trainer(settings) as first:
        eventually(lambda: running(f"models.training {folder}"))
        first.terminate()
        assert first.wait(timeout=120) == 0
    left = read_status(folder)
    assert (left.status, left.attempts) == (RunState.QUEUED, 1)
    assert training_queue.position(run_id, 1) == 0
    assert tries_left(queue, attempt_id(run_id, 1)) == MAX_TRIES - 1


def test_a_training_that_is_killed_before_its_first_step_has_failed(run, settings):
    _, folder = run
    with trainer(settings):
        os.kill(eventually(lambda: running(f"models.training {folder}")), signal.SIGKILL)
        eventually(lambda: read_status(folder).status is RunState.FAILED)
    assert "killed by signal 9" in read_status(folder).error


@pytest.fixture
def find_no_room(queue, settings, signals, monkeypatch):
    """Have a trainer take a run whose training finds no room on the disk. How it ended is written by ``write``."""
    training = MagicMock(stopping=False, killed=False)
    training.__enter__.return_value = training
    training.wait.return_value = CANNOT_WRITE

    def take(write):
        trainer = Trainer(queue.connection, data_dir=settings.data_dir, device="cpu", reserved_mb=0, threads=1)
        monkeypatch.setattr("worker.training_process.TrainingProcess", lambda *arguments, **options: training)
        monkeypatch.setattr("worker.training_process.ROOM_WAIT_S", 0.0)
        monkeypatch.setattr("worker.training_process.write_status", write)
        trainer.work(burst=True, logging_level="ERROR")

    return take


def test_how_a_run_ended_on_a_full_disk_is_written_once_there_is_room(run, find_no_room):
    _, folder = run
    (folder / "ballast").touch()  # of a training that was killed
    tries = iter([OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded")])

    def write(folder, status):
        if full := next(tries, None):
            raise full
        write_status(folder, status)

    find_no_room(write)
    status = read_status(folder)
    assert (status.status, [alarm.kind for alarm in status.alarms]) == (RunState.FAILED, ["disk"])
    assert "The disk was full" in status.error
    assert "Resume continues from the last checkpoint" in status.error
    assert not (folder / "ballast").exists()


def test_a_trainer_that_is_to_end_while_the_disk_is_full_puts_the_run_back(run, find_no_room, queue, training_queue):
    run_id, folder = run
    before = read_status(folder)

    def write(folder, status):
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(errno.ENOSPC, "No space left on device")

    find_no_room(write)
    assert read_status(folder) == before
    assert training_queue.position(run_id, 1) == 0
    assert tries_left(queue, attempt_id(run_id, 1)) == MAX_TRIES - 1


def test_a_run_waits_until_its_folder_is_unlocked_and_is_stopped_when_its_training_gets_sigterm(
    run, settings, training_queue
):
    run_id, folder = run
    with trainer(settings):
        with lock_run(folder):
            eventually(lambda: training_queue.turn(run_id, 1) is Turn.STARTED)
            time.sleep(UNLOCK_WAIT_S + 1)
            assert training_queue.turn(run_id, 1) is Turn.STARTED
        eventually(lambda: step(folder) > 3)
        os.kill(eventually(lambda: running(f"models.training {folder}")), signal.SIGTERM)
        eventually(lambda: read_status(folder).status is RunState.STOPPED)
    assert read_status(folder).last_checkpoint == step(folder)


def test_sigterm_while_a_run_waits_puts_it_back_and_uses_up_no_try(run, settings, queue, training_queue, janitor):
    """Even at the moment it takes the run, when the janitor has to put it back."""
    run_id, folder = run
    with lock_run(folder), trainer(settings) as first:
        eventually(lambda: training_queue.position(run_id, 1) is None, every_s=0)
        first.terminate()
        assert first.wait(timeout=120) == 0
        eventually(lambda: training_queue.position(run_id, 1) == 0)
    assert training_queue.turn(run_id, 1) is Turn.WAITING
    assert tries_left(queue, attempt_id(run_id, 1)) == MAX_TRIES - 1
    assert read_status(folder).status is RunState.QUEUED


def test_sigterm_while_redis_is_away_leaves_the_run_queued(own_redis):
    server, data, _, folder = own_redis
    with process(sys.executable, "-c", IMPATIENT, env=environment(data)) as child:
        eventually(lambda: step(folder) > 3)
        server.stop()
        child.terminate()
        assert child.wait(timeout=120) != 0
    left = read_status(folder)
    assert (left.status, left.attempts, left.last_checkpoint) == (RunState.QUEUED, 1, left.step)
    server.start()
    janitor = Janitor(connect(server.url, patience_s=5))
    with trainer(data):
        eventually(lambda: janitor.sweep() or step(folder) > left.step, every_s=1)


def test_a_trainer_replaces_a_dead_one_of_the_same_name(run, settings, redis_url):
    _, folder = run
    script = (
        "import os, sys, worker.training_process as t; from worker.connection import connect; "
        "from app.cli import main; "
        f"dead = connect({redis_url!r}, patience_s=1); "
        "name = t.trainer_name(os.getpid()); "
        "t.SimpleWorker([t.rq_training_queue(dead)], name=name, connection=dead).register_birth(); "
        "sys.exit(main(['trainer']))"
    )
    with process(sys.executable, "-c", script, env=environment(settings)):
        eventually(lambda: step(folder) > 0)


def test_a_kill_command_does_nothing_to_a_run_that_has_ended_and_stops_one_at_once(
    run, settings, queue, training_queue, store
):
    run_id, folder = run
    with trainer(settings) as first:
        eventually(lambda: step(folder) > 3)
        store.folder(run_id).request_stop()
        eventually(lambda: training_queue.turn(run_id, 1) is Turn.ENDED)
        training_queue.kill(run_id, 1)
        store.folder(run_id).forget_stop()
        status = read_status(folder)
        status.status, status.attempts = RunState.QUEUED, 2
        write_status(folder, status)
        training_queue.submit(run_id, 2)
        eventually(lambda: read_status(folder).last_checkpoint > status.step)
        assert first.poll() is None
        store.folder(run_id).request_stop()
        training_queue.kill(run_id, 2)
        eventually(lambda: read_status(folder).status is RunState.STOPPED)
        eventually(lambda: training_queue.turn(run_id, 2) is Turn.ENDED)
        assert read_status(folder).error is None
        assert running(f"models.training {folder}") is None


def test_a_missing_device_is_reported_in_one_line(settings):
    env = environment(settings) | {"DOPPEL_DEVICE": "cuda:99"}
    command = [sys.executable, "-m", "app.cli", "trainer"]
    answer = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert answer.stderr.startswith("doppel: the device 'cuda:99' cannot be used here")


@pytest.fixture
def own_redis(settings, tmp_path):
    """A Redis that may be stopped, settings that name it, and an endless run in its queue, with its folder."""
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    data = settings.model_copy(update={"redis_url": server.url})
    options = CycleGANOptions(dataset=add_dataset(data.data_dir), **(CYCLEGAN | ENDLESS))
    store = RunStore(data.data_dir)
    run_id = store.create(options, RunStatus(created_at=now(), updated_at=now(), attempts=1))
    TrainingQueue(connect(server.url, patience_s=5)).submit(run_id, 1)
    yield server, data, run_id, store.folder(run_id).path
    server.stop()


# A trainer that gives up on a lost Redis after a second.
IMPATIENT = (
    "import sys, worker.training_process as t; t.PATIENCE_S = 1; from app.cli import main; sys.exit(main(['trainer']))"
)


def test_training_continues_while_redis_is_away(own_redis):
    server, data, run_id, folder = own_redis
    run = RunStore(data.data_dir).folder(run_id)
    with process(sys.executable, "-c", IMPATIENT, env=environment(data)) as child:
        eventually(lambda: step(folder) > 3)
        training = eventually(lambda: running(f"models.training {folder}"))
        server.stop()
        reached = step(folder)
        time.sleep(3 * HEARTBEAT_S)
        server.start()
        eventually(lambda: step(folder) > reached + 3)
        assert running(f"models.training {folder}") == training
        assert child.poll() is None
        eventually(lambda: run.request_stop() or read_status(folder).status is RunState.STOPPED)


def test_a_killed_trainer_takes_its_processes_along_and_the_run_continues_elsewhere(
    run, settings, queue, training_queue, janitor
):
    run_id, folder = run
    with trainer(settings) as first:
        eventually(lambda: read_status(folder).last_checkpoint)
        first.kill()
        first.wait()
        eventually(lambda: running(f"models.training {folder}") is None and not is_locked(folder))
    left = read_status(folder).last_checkpoint
    job = attempt_id(run_id, 1)
    eventually(lambda: tries_left(queue, job) == MAX_TRIES - 2)
    with trainer(settings):
        eventually(lambda: read_status(folder).last_checkpoint > left)
        assert training_queue.turn(run_id, 1) is Turn.STARTED
        assert tries_left(queue, job) == MAX_TRIES - 1  # since it had come further


def tries_left(queue, job_id):
    return int(queue.connection.hget(Job.key_for(job_id), "retries_left"))


def test_trainers_report_what_they_have(settings, training_queue):
    with trainer(settings) as first:
        # SIGTERM must be handled from the first report on.
        (report,) = eventually(lambda: training_queue.trainers(seen_within_s=60), every_s=0)
        assert (report.pid, report.memory_mb > 100, report.cores > 0) == (first.pid, True, True)
        first.terminate()
        assert first.wait(timeout=120) == 0
    assert training_queue.trainers(seen_within_s=60) == []


def test_what_cannot_be_trained_ends_with_the_reason_and_is_not_tried_again(
    run, settings, queue, training_queue, store
):
    """Of one trainer: runs without options or pictures, removed, or stopped while they waited, and another function."""
    damaged, _ = run
    lost, removed, stopped = runs = [another(damaged, store, training_queue) for _ in range(3)]
    store.folder(damaged).options_file.write_text("{")
    gone = store.folder(lost).options().model_copy(update={"dataset": settings.data_dir / "gone"})
    store.folder(lost).options_file.write_text(gone.model_dump_json())
    store.remove(removed)
    store.folder(stopped).request_stop()
    evil = rq_training_queue(queue.connection).enqueue("os.system", "touch /tmp/evil")
    with trainer(settings) as first:
        eventually(lambda: all(training_queue.turn(run_id, 1) is Turn.ENDED for run_id in (damaged, *runs)))
        eventually(lambda: evil.get_status() is JobStatus.FAILED)
        assert first.poll() is None
    ended = {run_id: read_status(store.folder(run_id).path) for run_id in (damaged, lost, stopped)}
    assert [found.status for found in ended.values()] == [RunState.FAILED, RunState.FAILED, RunState.STOPPED]
    assert "options.json" in ended[damaged].error
    assert "domains" in ended[lost].error
    assert ended[stopped].step == 0
    assert "not one that a trainer runs" in evil.latest_result().exc_string
