"""A whole service with a real trainer, worker and preparer, one for all tests here, and a run that was watched."""

import sys

import pytest

from app.settings import Settings
from tests.app.training.client import events, start, wait
from tests.conftest import add_model
from tests.processes import api, environment, eventually, preparer, process
from tests.training import add_dataset, cyclegan, stargan
from worker.embedded_redis import EmbeddedRedis


@pytest.fixture(scope="package")
def place(tmp_path_factory):
    """Settings of a service with a Redis of its own."""
    root = tmp_path_factory.mktemp("service")
    add_model(root / "weights", "tiny", ready=True)
    add_dataset(root / "var")
    server = EmbeddedRedis(root / "redis")
    server.start()
    settings = Settings(
        redis_url=server.url,
        weights_dir=root / "weights",
        data_dir=root / "var",
        device="cpu",
        offline=True,
        preload=[],
    )
    yield settings
    server.stop()


@pytest.fixture(scope="package")
def service(place):
    """A client of it."""
    with (
        process(sys.executable, "-m", "app.cli", "trainer", env=environment(place)),
        process(sys.executable, "-m", "app.cli", "worker", env=environment(place)),
        preparer(place, "estimates"),
        api(place) as client,
    ):
        eventually(lambda: client.get("/readyz").is_success)
        eventually(lambda: client.post("/training/stargan?dry_run=true", json=stargan()).is_success)
        yield client


@pytest.fixture(autouse=True)
def _nothing_goes_on(service):
    """Have a test that fails leave the trainer to the next."""
    yield
    for run in service.get("/training").json():
        if run["status"] in ("queued", "running"):
            service.post(f"{run['links']['self']}/stop?force=true")
            wait(service, run["links"]["self"], "stopped", "succeeded", "failed")


@pytest.fixture(scope="package")
def finished_stargan(service):
    """A StarGAN v2 run of two steps that has succeeded."""
    run = start(service, "stargan", stargan(total_iters=2))
    wait(service, run)
    return run


@pytest.fixture(scope="package")
def finished(service):
    """A CycleGAN run that was watched to its end, and the events of it."""
    run = start(service, "cyclegan", cyclegan())
    return run, events(service, run)
