"""What is there can be read while nothing new is taken: a disk that is nearly full, a long queue of trainings."""

import time

import pytest

from app.main import create_app
from tests.app.test_translate import upload
from tests.archives import unpaired, zipped
from tests.processes import api
from tests.training import add_dataset
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


def test_an_upload_beyond_the_quota_is_refused(settings, queue):
    report = PreparerReport(name="p", pid=1, host="h", queue=contract.PREPARATION_QUEUE, seen_at=time.time())
    queue.connection.hset(contract.PREPARERS, "p", report.model_dump_json())
    settings.max_store_mb = 1
    with api(settings) as client:
        (settings.data_dir / "models").mkdir(parents=True, exist_ok=True)
        (settings.data_dir / "models" / "large").write_bytes(bytes(1 << 20))
        answer = client.post("/datasets", files={"archive": zipped(unpaired())}, data={"name": "new"})
        assert answer.status_code == 503
        assert "DOPPEL_MAX_STORE_MB" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "600"


def test_data_sets_are_listed_page_by_page(settings):
    names = ["a", "b-1", "c c", "d", "e"]
    for name in names:
        add_dataset(settings.data_dir, name)
    named = [name for name in names if name != "c c"]  # no name of a data set
    with api(settings) as client:

        def pages(address):
            found = []
            while address:
                answer = client.get(address)
                found.append([one["name"] for one in answer.json()])
                address = answer.links.get("next", {}).get("url")
            return found

        assert pages("/datasets") == [named]
        assert pages("/datasets?limit=2") == [named[:2], named[2:]]
        assert pages("/datasets?limit=3&after=a") == [named[1:]]
        assert client.get("/datasets?limit=0").status_code == 422


def test_only_so_many_training_runs_may_wait(settings, queue):
    settings.training_queue_limit = 3
    runs = create_app(settings).state.services.runs
    queue.connection.rpush(rq_training_queue(queue.connection).key, "a-1", "b-1")
    runs.require_room()
    with pytest.raises(QueueFull):
        runs.require_room(2)
