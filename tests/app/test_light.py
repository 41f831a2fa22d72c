"""An installation without torch: what it can't do it says, with what to install."""

import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from app import cli
from models.errors import NotInstalled
from models.store.additions import Addition
from models.store.catalog import Catalog
from models.store.incoming import IncomingStore
from models.store.model_archives import export
from models.weights.fetch import fetch
from tests.conftest import add_model
from tests.pictures import encoded, landscape
from tests.processes import api, fresh
from worker import contract
from worker.contract import Status
from worker.preparation_process import ImportWorker
from worker.preparation_queue import AddTask, PreparationQueue, PreparerReport
from worker.preparation_worker import PreparationWorker

ROOT = Path(__file__).parents[2]
REMEDY = "pip install 'doppel[worker]'"


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.fixture
def light_preparer(queue):
    """Reports of a preparer without torch, which stay new."""
    for name in (contract.PREPARATION_QUEUE, contract.FETCH_QUEUE, contract.ESTIMATE_QUEUE):
        report = PreparerReport(name=name, pid=1, host="here", queue=name, torch=False, seen_at=fresh())
        queue.connection.hset(contract.PREPARERS, name, report.model_dump_json())


def test_training_is_refused_with_what_to_install(client, settings, light_preparer):
    pictures = settings.data_dir / "datasets" / "pictures"
    for folder in ("trainA", "trainB"):
        (pictures / folder).mkdir(parents=True)
        for name in ("one.jpg", "two.jpg"):
            (pictures / folder / name).write_bytes((ROOT / "docs/images/sample-photo.jpg").read_bytes())
    for dry_run in (True, False):
        answer = client.post(
            "/training/cyclegan", params={"dry_run": dry_run}, json={"dataset": "pictures", "epochs": 1}
        )
        assert (answer.status_code, REMEDY in answer.json()["detail"]) == (503, True), answer.text
    assert client.get("/training").json() == []


def test_a_model_is_refused_before_it_is_stored(client, settings, light_preparer):
    answer = client.post("/models", files={"file": ("model.pth", b"weights")}, data={"name": "mine"})
    assert (answer.status_code, REMEDY in answer.json()["detail"]) == (503, True), answer.text
    assert not list((settings.data_dir / "datasets" / ".incoming").glob("*"))


def test_an_exported_model_is_taken_without_torch(client, settings, light_preparer, weights_dir, tmp_path):
    add_model(weights_dir, "moved", ready=True)
    export(Catalog(weights_dir, tmp_path).get("moved"), tmp_path / "moved.zip")
    fields = {"name": "again", "wait": "0"}
    files = {"file": ("moved.zip", (tmp_path / "moved.zip").read_bytes())}
    answer = client.post("/models", files=files, data=fields)
    assert answer.status_code == 202, answer.text
    job = IncomingStore(settings.data_dir).archive(answer.json()["id"])
    assert job.read_bytes() == (tmp_path / "moved.zip").read_bytes()


def report_full_preparer(redis, queue):
    report = PreparerReport(name="full", pid=2, host="there", queue=queue, seen_at=time.time())
    redis.hset(contract.PREPARERS, "full", report.model_dump_json())


@pytest.fixture
def importer(queue, settings, no_torch, monkeypatch):
    """A preparer without torch: it takes one job, and says what became of the queue, the next first."""
    monkeypatch.setattr("worker.preparation_worker.HAND_BACK_PAUSE_S", 0)
    monkeypatch.setattr(PreparationWorker, "fork_work_horse", lambda worker, job, queue: tried.append(job.id))
    monkeypatch.setattr(PreparationWorker, "monitor_work_horse", lambda worker, job, queue, execution: None)
    tried = []
    worker = ImportWorker(queue.connection, settings.data_dir)

    def take_one():
        tried.clear()
        worker.execute_job(*worker.dequeue_job_and_maintain_ttl(timeout=1))
        waiting = queue.connection.lrange(worker.queues[0].key, 0, -1)
        return tried, [job.decode() for job in waiting], queue.connection.llen(worker.queues[0].intermediate_queue_key)

    yield take_one
    worker.stop_heartbeats()


def test_a_preparer_without_torch_leaves_weights_files_to_one_that_has_it(queue, light_preparer, importer):
    preparation = PreparationQueue(queue.connection)
    for name, torch in (("weights", True), ("archive", False)):
        task = AddTask(label="m", addition=Addition(name=name), max_bytes=1, torch=torch)
        preparation.submit_addition(name, task)
    report_full_preparer(queue.connection, contract.PREPARATION_QUEUE)
    assert importer() == ([], ["archive", "weights"], 0)
    assert queue.state("weights").status is Status.QUEUED
    assert importer() == (["archive"], ["weights"], 1)
    queue.connection.hdel(contract.PREPARERS, "full")
    assert importer() == (["weights"], [], 2)  # and fails: there is nobody to do it


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "cyclegan", ".", "-o", "run"],
        ["trainer"],
        ["check", "model.pth"],
        ["add", "model.pth", "--name", "mine"],
        ["export", "style_monet-lite", "--format", "onnx"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_needs_torch_says_so_in_one_line(arguments, no_torch, capsys):
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert REMEDY in said[0]


def test_where_nobody_has_torch_nothing_is_fetched_and_the_answer_says_why(settings, light_preparer):
    files = {"image": encoded(landscape())}
    with api(settings.model_copy(update={"offline": False})) as client:
        for answer in (
            client.post("/models/missing/fetch"),
            client.post("/translate", data={"model": "missing"}, files=files),
        ):
            assert (answer.status_code, REMEDY in answer.json()["detail"]) == (503, True), answer.text
        assert client.get("/models/missing").json()["fetch_job"] is None


def test_weights_that_torch_would_read_are_not_fetched_and_the_model_says_why(weights_dir, tmp_path, no_torch):
    catalog = Catalog(weights_dir, tmp_path / "var")
    with pytest.raises(NotInstalled):
        fetch(catalog.get("missing").card, catalog.models_dir / "missing")
    model = catalog.get("missing")
    assert (model.availability, REMEDY in (model.failure or "")) == ("unavailable", True)


def test_what_serves_without_torch_is_part_of_what_serves_with_it():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    light, worker = ({Requirement(line).name for line in extras[name]} for name in ("light", "worker"))
    assert light < worker
    assert not any(name.startswith("torch") for name in light)
