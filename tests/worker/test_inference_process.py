"""``doppel worker`` whole: real weights, and those that come while it runs."""

import subprocess
import sys

import pytest
import torch

from models.cyclegan import ResnetGenerator
from models.store.catalog import Catalog
from models.weights.fetch import fetch
from tests.conftest import TINY
from tests.fake_worker import HELD, first_pixel
from tests.processes import environment, eventually, fake_worker, file_server, process
from worker.contract import Status, Task


@pytest.fixture
def mirror(tmp_path):
    """The address of a server that has the weights of ``missing``."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    torch.save(ResnetGenerator(**TINY).state_dict(), folder / "missing.pth")

    with file_server(folder) as address:
        yield address


@pytest.fixture
def worker(settings):
    env = environment(settings) | {"DOPPEL_PRELOAD": "tiny,missing"}
    with process(sys.executable, "-m", "app.cli", "worker", env=env) as child:
        yield child


def test_a_worker_takes_the_place_of_a_dead_one_of_its_name(queue, redis_url, settings):
    """As in a container that is started again, where host and process number are the same."""
    with fake_worker(redis_url) as dead:
        job = queue.submit(Task(model="tiny", height=32, width=32), first_pixel(HELD), decode_ms=1)
        eventually(lambda: queue.state(job).status is Status.RUNNING)
        dead.kill()
        dead.wait()
    code = (
        f"import os; os.getpid = lambda: {dead.pid}\nimport sys; from app.cli import main; sys.exit(main(['worker']))"
    )
    with process(sys.executable, "-c", code, env=environment(settings)):
        eventually(lambda: queue.state(job).status.ended)
    assert queue.state(job).status is Status.SUCCEEDED


def test_a_device_that_is_not_there_is_said_in_one_line(settings):
    env = environment(settings) | {"DOPPEL_DEVICE": "cuda:99"}
    command = [sys.executable, "-m", "app.cli", "worker"]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("doppel: the device 'cuda:99' cannot be used here")


def test_a_worker_preloads_translates_and_sees_weights_that_come(worker, queue, settings, mirror):
    eventually(lambda: queue.workers(seen_within_s=60))
    report = queue.workers(seen_within_s=60)[0]
    assert (report.pid, report.device, report.loaded) == (worker.pid, "cpu", ["tiny"])

    job = queue.submit(Task(model="tiny", height=32, width=32), first_pixel((1, 2, 3)), decode_ms=1)
    eventually(lambda: queue.state(job).status.ended)
    assert queue.state(job).status is Status.SUCCEEDED, queue.state(job).error

    job = queue.submit(Task(model="missing", height=32, width=32), first_pixel((1, 2, 3)), decode_ms=1)
    eventually(lambda: queue.state(job).status.ended)
    assert "doppel pull missing" in queue.state(job).error.detail

    catalog = Catalog(settings.weights_dir, settings.data_dir)
    fetch(catalog.get("missing").card, catalog.models_dir / "missing", mirror=mirror)
    job = queue.submit(Task(model="missing", height=32, width=32), first_pixel((1, 2, 3)), decode_ms=1)
    eventually(lambda: queue.state(job).status.ended)
    assert queue.state(job).status is Status.SUCCEEDED, queue.state(job).error
