"""Runs in the queue, and what their folders tell."""

import csv
import io
import json

import pytest
from PIL import Image
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from models.store.run_folder import RunFolder
from tests.processes import eventually
from tests.training import cyclegan
from worker.training_queue import rq_training_queue


@pytest.mark.parametrize("damaged", ["options.json", "status.json"])
def test_a_run_that_cannot_be_read_is_in_nobodys_way(training, queue, settings, damaged):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    (settings.data_dir / "runs" / run / damaged).write_text('{"of": "another version"}')
    assert training.post("/training/cyclegan?dry_run=true", json=cyclegan()).status_code == 200
    assert training.post("/training/cyclegan", json=cyclegan()).status_code == 202
    assert [one["id"] for one in training.get("/training").json()] != [run]
    assert training.get("/datasets").status_code == 200
    answer = training.get(f"/training/{run}")
    assert (answer.status_code, run in answer.json()["detail"]) == (409, True)
    queue.connection.flushdb()  # or the one whose status can be read would wait for a trainer, and fail in it
    eventually(lambda: training.delete(f"/training/{run}").status_code == 204)
    assert not (settings.data_dir / "runs" / run).exists()


def test_a_run_that_the_queue_has_no_room_for_is_not_there(training, queue):
    queue.connection.config_set("maxmemory", 1)
    try:
        assert training.post("/training/cyclegan", json=cyclegan()).status_code == 503
        asked = {"family": "cyclegan", "base": cyclegan(), "grid": {"seed": [1, 2]}}
        assert training.post("/training/compare", json=asked).status_code == 503
    finally:
        queue.connection.config_set("maxmemory", 0)
    assert training.get("/training").json() == training.get("/training/compare").json() == []


def test_a_queued_run_has_a_position_can_be_stopped_and_removed(training):
    first, second = (training.post("/training/cyclegan", json=cyclegan()) for _ in range(2))
    assert first.status_code == 202
    run, behind = first.json(), second.json()
    assert first.headers["Location"] == f"/training/{run['id']}"
    assert (run["status"], run["position"], behind["position"]) == ("queued", 0, 1)
    assert [one["id"] for one in training.get("/training").json()] == [behind["id"], run["id"]]
    assert training.delete("/datasets/colors").status_code == 409
    assert training.delete(f"/training/{run['id']}").status_code == 409
    for one in (run, behind):
        assert training.post(f"/training/{one['id']}/stop").json()["status"] == "stopped"
    assert training.post(f"/training/{run['id']}/stop").status_code == 409
    assert training.get(f"/training/{run['id']}/curves.png").status_code == 409
    assert training.get(f"/training/{run['id']}/samples/last").status_code == 404
    assert training.post(f"/training/{run['id']}/publish", json={"name": "x"}).status_code == 409
    assert training.delete(f"/training/{run['id']}").status_code == 204
    assert training.get(f"/training/{run['id']}").status_code == 404
    assert training.delete("/datasets/colors").status_code == 204
    assert training.post(f"/training/{behind['id']}/resume").status_code == 409


def test_an_attempt_is_no_job_of_the_other_queue(training):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    assert training.get(f"/jobs/{run}-1").status_code == 404
    assert training.delete(f"/jobs/{run}-1").status_code == 404


def test_a_run_whose_trainer_died_too_often_says_so(training, queue, settings):
    run = training.post("/training/cyclegan", json=cyclegan())
    where, run_id = run.headers["Location"], run.json()["id"]
    turns = rq_training_queue(queue.connection)
    turns.remove(f"{run_id}-1")
    Job.fetch(f"{run_id}-1", connection=queue.connection, serializer=JSONSerializer).set_status(JobStatus.FAILED)
    state = training.get(where).json()
    assert "trainer died several times" in state["error"]["detail"]
    assert training.post(f"{where}/resume").status_code == 202


def test_the_list_of_runs_survives_the_loss_of_redis(training, queue, settings):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    queue.connection.flushall()
    found = training.get("/training").json()
    assert [one["id"] for one in found] == [run]


def test_metrics_of_a_long_run_are_thinned_or_come_in_pages(training, settings):
    run = training.post("/training/cyclegan", json=cyclegan()).json()["id"]
    folder = RunFolder(settings.data_dir / "runs" / run)
    lines = (json.dumps({"step": step, "seconds": step / 4, "g_ab": 1.5}) for step in range(1, 6_501))
    folder.metrics_file.write_text("\n".join(lines) + "\n")
    metrics = f"/training/{run}/metrics"
    answer = training.get(metrics)
    assert [record["step"] for record in answer.json()] == list(range(4, 6_501, 7))
    assert (answer.headers["X-Steps"], answer.headers["X-Every"]) == ("6500", "7")
    assert "Link" not in answer.headers
    found, page = [], f"{metrics}?points=0&format=csv&limit=3000"
    while page:
        answer = training.get(page)
        found += [int(row["step"]) for row in csv.DictReader(io.StringIO(answer.text))]
        page = answer.links.get("next", {}).get("url")
    assert found == list(range(1, 6_501))
    assert training.get(metrics, params={"points": 10**9}).status_code == 422
    with Image.open(io.BytesIO(training.get(f"/training/{run}/curves.png").content)) as plot:
        assert plot.size == (1000, 700)


@pytest.mark.parametrize("call", ["", "/metrics", "/samples", "/samples/last", "/curves.png", "/log", "/events"])
def test_a_run_that_is_not_there(client, call):
    for run in ("none", "%2e%2e%2fetc", "x" * 60):
        assert client.get(f"/training/{run}{call}").status_code == 404
