"""A service with a real preparer that has heard of a trainer, which will never come."""

import json
import os
import shutil
import signal

import pytest
import redis

from app.settings import Settings
from tests.conftest import TINY_STARGAN, add_stargan
from tests.processes import fresh, preparer
from tests.training import add_dataset
from worker import contract
from worker.preparation_queue import PreparationQueue, PreparerReport
from worker.training_queue import TrainerReport


@pytest.fixture(scope="package")
def preparer_report(redis_server):
    """The report of a real preparer, one for all tests here."""
    settings = Settings(redis_url=redis_server.url, data_dir="unused", device="cpu", offline=True)
    with preparer(settings, "estimates"):
        [report] = redis.Redis.from_url(redis_server.url).hvals(contract.PREPARERS)
        yield PreparerReport.model_validate_json(report)


@pytest.fixture(scope="package")
def sized():
    """What the preparer has answered in this file: request, as JSON → estimate. Each takes it a second."""
    return {}


@pytest.fixture
def silenced(preparer_report, training, queue, sized):
    """Called, it lets the preparer report no more, until the test ends."""

    def silence():
        os.kill(preparer_report.pid, signal.SIGSTOP)
        queue.connection.delete(contract.PREPARERS)
        sized.clear()

    yield silence
    os.kill(preparer_report.pid, signal.SIGCONT)


@pytest.fixture(scope="package")
def stock(tmp_path_factory):
    """A folder with the data sets and the StarGAN v2 that every test has a copy of."""
    root = tmp_path_factory.mktemp("stock")
    add_dataset(root)
    add_dataset(root, "three", ("red", "blue", "green"))
    implied = {name: value for name, value in TINY_STARGAN.items() if name != "base_dim"}
    add_stargan(root / "weights", "wide", network=implied)
    return root


@pytest.fixture
def training(client, queue, settings, preparer_report, stock, sized, monkeypatch):
    """A client of a service that has data sets and a preparer, and has heard of a trainer, which will never come."""
    ask = PreparationQueue.estimate

    def estimate(self, requests, **options):
        keys = [json.dumps(request, sort_keys=True) for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in sized}
        if missing:
            sized.update(zip(missing, ask(self, list(missing.values()), **options), strict=True))
        return [sized[key] for key in keys]

    monkeypatch.setattr(PreparationQueue, "estimate", estimate)
    report = preparer_report.model_copy(update={"seen_at": fresh()})
    queue.connection.hset(contract.PREPARERS, report.name, report.model_dump_json())  # Redis was emptied meanwhile
    shutil.copytree(stock / "datasets", settings.data_dir / "datasets", dirs_exist_ok=True)
    shutil.copytree(stock / "weights", settings.weights_dir, dirs_exist_ok=True)
    report = TrainerReport(name="t", pid=1, host="h", memory_mb=16_384, gpu_memory_mb=[], cores=2, seen_at=fresh())
    queue.connection.hset(contract.TRAINERS, "t", report.model_dump_json())
    return client


@pytest.fixture
def importing(settings, training):
    """A preparer that imports what is uploaded to the service."""
    with preparer(settings, "imports"):
        yield
