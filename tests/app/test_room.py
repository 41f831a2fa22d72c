"""What is there can be read while nothing new is taken: a disk that is nearly full, a long queue of trainings."""

import time

import pytest

from app.main import create_app
from tests.app.test_translate import upload
from tests.archives import unpaired, zipped
from tests.processes import api
from worker import contract
from worker.errors import QueueFull
from worker.preparation_queue import PreparerReport
from worker.training_queue import rq_training_queue


def test_a_disk_that_is_nearly_full_can_be_read_from(settings, queue):
    report = PreparerReport(name="p", pid=1, host="h", queue=contract.PREPARATION_QUEUE, seen_at=time.time())
    queue.connection.hset(contract.PREPARERS, "p", report.model_dump_json())
    order = {"model": "tiny", "wait": "0"}
    with api(settings) as client:
        job = client.post("/translate", files=upload(), data=order).json()["id"]
    settings.disk_reserved_mb = 1 << 40
    with api(settings) as client:
        refused = [
            client.post("/translate", files=upload(), data=order),
            client.post("/datasets", files={"archive": zipped(unpaired())}, data={"name": "new"}),
        ]
        for answer in refused:
            assert answer.status_code == 503
            assert "disk is full" in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) >= 60
        for path in (f"/jobs/{job}", "/models", "/datasets", "/training", "/healthz"):
            assert client.get(path).status_code == 200


def test_only_so_many_training_runs_may_wait(settings, queue):
    settings.training_queue_limit = 3
    runs = create_app(settings).state.services.runs
    queue.connection.rpush(rq_training_queue(queue.connection).key, "a-1", "b-1")
    runs.require_room()
    with pytest.raises(QueueFull):
        runs.require_room(2)
