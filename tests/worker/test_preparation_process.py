"""The process ``doppel preparer``: what becomes of its jobs when it dies, and what it loads."""

import errno
import io
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from rq import Queue
from rq.job import Job
from rq.results import Result
from rq.serializers import JSONSerializer

from models.errors import Invalid, NotInstalled, Unavailable
from models.store.datasets import DatasetStore
from models.store.incoming import IncomingStore
from tests.archives import slow, unpaired, zipped
from tests.processes import children, eventually, preparer
from worker import contract
from worker.connection import connect
from worker.contract import FailureCode, Status
from worker.dataset_import import MEMORY_BYTES
from worker.inference_queue import WORKER_DIED, new_job_id
from worker.janitor import Janitor
from worker.preparation_process import ImportWorker
from worker.preparation_queue import ImportTask, PreparationQueue, PreparerReport, rq_preparation_queue
from worker.preparation_worker import preparer_name


@pytest.fixture
def preparation(redis_url):
    return PreparationQueue(connect(redis_url, patience_s=5))


@pytest.fixture
def incoming(settings):
    return IncomingStore(settings.data_dir)


@pytest.fixture
def datasets(settings):
    return DatasetStore(settings.data_dir)


@pytest.fixture
def submit(preparation, incoming):
    """Queue the import of an archive as ``pictures``; the job."""

    def submit(archive):
        job_id = new_job_id()
        incoming.receive(job_id, io.BytesIO(archive))
        limits = {"max_total_bytes": 1 << 30, "max_files": 10_000, "max_file_bytes": 1 << 24, "max_pixels": 1 << 24}
        preparation.submit_import(job_id, ImportTask(dataset="pictures", **limits))
        return job_id

    return submit


def importing(worker, queue, job, killed=()):
    """The forked process that does the import, none of those that were ``killed``; None before it has begun."""
    forked = [pid for pid in children(worker.pid) if pid not in killed]
    return forked[0] if forked and queue.state(job).status is Status.RUNNING else None


def test_an_import_whose_preparer_was_killed_is_tried_again(queue, settings, incoming, datasets, submit, janitor):
    job = submit(slow(30))
    with preparer(settings, "imports") as worker:
        forked = eventually(lambda: importing(worker, queue, job))
        worker.kill()
        worker.wait()
        eventually(lambda: not Path(f"/proc/{forked}").exists())  # it dies with its worker
    assert datasets.names() == []
    with preparer(settings, "imports"):
        eventually(lambda: queue.state(job).status.ended)
        eventually(lambda: incoming.job_ids() == [])
    assert queue.state(job).status is Status.SUCCEEDED
    assert datasets.get("pictures").domains["A"].train == 30


def test_an_import_that_kills_its_preparer_each_time_fails_and_leaves_nothing(
    queue, redis_url, settings, incoming, datasets, submit
):
    job = submit(slow(1000))
    for _ in range(contract.MAX_TRIES):
        with preparer(settings, "imports") as worker:
            eventually(lambda worker=worker: importing(worker, queue, job))
            worker.kill()
            worker.wait()
        Janitor(connect(redis_url, patience_s=1)).recover(preparer_name(worker.pid))
    state = queue.state(job)
    assert (state.status, state.error) == (Status.FAILED, WORKER_DIED)
    with preparer(settings, "imports"):
        eventually(lambda: incoming.job_ids() == [])
    assert datasets.names() == []


def test_a_process_that_dies_of_a_picture_fails_its_import_after_three_tries(queue, settings, incoming, submit):
    job = submit(slow(1000))
    with preparer(settings, "imports") as worker:
        killed = set()
        while len(killed) < contract.MAX_TRIES:
            forked = eventually(lambda: importing(worker, queue, job, killed))
            os.kill(forked, signal.SIGKILL)
            killed.add(forked)
        eventually(lambda: queue.state(job).status.ended)
        eventually(lambda: incoming.job_ids() == [])
        assert worker.poll() is None
    assert queue.state(job).error.code is FailureCode.WORKER_DIED


def test_sigterm_gives_the_import_back_and_uses_up_no_try(queue, redis_url, settings, incoming, datasets, submit):
    job = submit(slow(30))
    with preparer(settings, "imports") as worker:
        eventually(lambda: importing(worker, queue, job))
        worker.terminate()
        assert worker.wait(timeout=60) == 0
    assert queue.state(job).status is Status.QUEUED
    assert int(queue.connection.hget(Job.key_for(job), "retries_left")) == contract.MAX_TRIES - 1
    with preparer(settings, "imports"):
        eventually(lambda: queue.state(job).status.ended)
    assert queue.state(job).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("error", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EIO, "stored: Input/output error")],
)
def test_an_import_whose_result_cannot_be_stored_says_why(queue, settings, submit, error, said):
    job = Job.fetch(submit(zipped(unpaired())), queue.connection, serializer=JSONSerializer)
    failure = ImportWorker(queue.connection, settings.data_dir).failure(job, OSError(error, os.strerror(error)))
    assert failure.code is FailureCode.IMPORT_FAILED
    assert said in failure.detail


def test_an_import_that_died_after_its_data_set_appeared_has_succeeded(queue, settings, incoming, datasets, submit):
    job = submit(zipped(unpaired()))
    (incoming.folder(job) / "complete").touch()
    target = datasets.path("pictures")
    target.mkdir()
    with preparer(settings, "imports"):
        eventually(lambda: queue.state(job).status.ended)
        eventually(lambda: incoming.job_ids() == [])
    assert queue.state(job).status is Status.SUCCEEDED
    assert list(target.iterdir()) == []


def test_an_upload_that_no_job_names_is_removed_once_nothing_writes_it(queue, settings, incoming, submit):
    for job_id, age_s in (("abandoned", 3600), ("arriving", 0)):
        incoming.receive(job_id, io.BytesIO(b"a part of an archive"))
        written_at = time.time() - age_s
        for path in (incoming.archive(job_id), incoming.folder(job_id)):
            os.utime(path, (written_at, written_at))
    with preparer(settings, "imports"):
        eventually(lambda: incoming.job_ids() == ["arriving"])
        job = submit(zipped(unpaired()))
        eventually(lambda: queue.state(job).status.ended)
    assert incoming.archive("arriving").exists()


def test_a_queued_import_that_is_canceled_never_runs(queue, settings, incoming, datasets, submit):
    job = submit(zipped(unpaired()))
    assert queue.state(job).position == 0
    assert queue.cancel(job).status is Status.CANCELED
    with preparer(settings, "imports"):
        eventually(lambda: incoming.job_ids() == [])
    assert datasets.names() == []


def test_only_the_process_of_an_import_loads_pillow_and_its_memory_is_limited(queue, settings, submit):
    job = submit(slow(1000))
    with preparer(settings, "imports") as worker:
        forked = Path(f"/proc/{eventually(lambda: importing(worker, queue, job))}")
        eventually(lambda: "/PIL/" in (forked / "maps").read_text())
        limit = rf"Max address space +{MEMORY_BYTES} "
        eventually(lambda: re.search(limit, (forked / "limits").read_text()))
        own = Path(f"/proc/{worker.pid}/maps").read_text()
    assert "/PIL/" not in own
    assert "libtorch" not in own


def test_an_import_that_hangs_is_given_up(queue, settings, submit, incoming, monkeypatch):
    monkeypatch.setenv("DOPPEL_IMPORT_TIMEOUT_S", "3")
    job = submit(slow(1000))
    with preparer(settings, "imports") as worker:
        forked = eventually(lambda: importing(worker, queue, job))
        os.kill(forked, signal.SIGSTOP)  # as if it hung
        state = eventually(lambda: (found := queue.state(job)).status.ended and found)
        eventually(lambda: not incoming.job_ids())
        assert not Path(f"/proc/{forked}").exists()
    assert (state.status, state.error.code) == (Status.FAILED, FailureCode.TIMED_OUT)


# With a janitor, since a job may go to a preparer that the test before has killed and Redis still serves.
def test_no_function_but_ours_is_called_and_an_estimate_does_not_wait_for_an_import(
    queue, settings, preparation, incoming, submit, tmp_path, janitor
):
    names = (contract.PREPARATION_QUEUE, contract.FETCH_QUEUE, contract.ESTIMATE_QUEUE)
    queues = [rq_preparation_queue(preparation.connection, name) for name in names]
    others = [queue.enqueue("os.mkdir", str(tmp_path / queue.name)) for queue in queues]
    job = submit(slow(1000))
    with preparer(settings):
        eventually(lambda: [other.get_status() for other in others] == ["failed"] * 3)
        assert not any((tmp_path / name).exists() for name in names)
        eventually((incoming.folder(job) / "unpacked").exists)
        small, large = ({"family": "cyclegan", "num_domains": 2, "ngf": ngf} for ngf in (4, 8))
        estimates = preparation.estimate([small, large], timeout_s=120)
        assert queue.state(job).status is Status.RUNNING
        queue.cancel(job)
        with pytest.raises(Invalid, match="ngf"):
            preparation.estimate([{"family": "cyclegan", "num_domains": 2, "ngf": "wide"}], timeout_s=120)
    assert estimates[0]["memory_mb"] <= estimates[1]["memory_mb"]
    assert estimates[0]["flop_per_step"] < estimates[1]["flop_per_step"]


def test_an_estimate_without_a_preparer_is_refused_at_once(preparation):
    with pytest.raises(Unavailable, match="doppel preparer"):
        preparation.estimate([], timeout_s=3600)


def report_estimates(connection):
    """Have Redis tell of a preparer that sizes runs."""
    seen = PreparerReport(name="p", pid=1, host="h", queue=contract.ESTIMATE_QUEUE, seen_at=time.time())
    connection.hset(contract.PREPARERS, seen.name, seen.model_dump_json())


def test_an_estimate_that_takes_too_long_is_given_up(preparation):
    report_estimates(preparation.connection)
    with pytest.raises(Unavailable, match="in time"):
        preparation.estimate([], timeout_s=1)


def test_an_estimate_that_needs_a_package_which_is_not_there_says_what_to_install(preparation, monkeypatch):
    monkeypatch.setattr("models.training.feature_network.PACKAGE", "package_that_nobody_has")
    connection = preparation.connection
    report_estimates(connection)
    waiting = rq_preparation_queue(connection, contract.ESTIMATE_QUEUE)

    def answer():
        job, _ = Queue.dequeue_any([waiting], 60, connection=connection, serializer=waiting.serializer)
        Result.create(job, Result.Type.SUCCESSFUL, ttl=60, return_value=job.perform())

    answering = threading.Thread(target=answer)
    answering.start()
    by_features = {"family": "cyclegan", "num_domains": 2, "ngf": 2, "discriminator": "projected"}
    with pytest.raises(NotInstalled, match=r"doppel\[features\]"):
        preparation.estimate([by_features], timeout_s=60)
    answering.join()
