"""``doppel worker`` whole: real weights, and those that somebody wants fetched."""

import http.server
import os
import sys
import threading

import pytest
import torch

from models.catalog import Catalog
from models.cyclegan import ResnetGenerator
from tests.conftest import TINY
from tests.fake_worker import first_pixel
from tests.processes import eventually, process
from worker.contract import Status, TranslationTask


@pytest.fixture
def mirror(tmp_path):
    """The address of a server that has the weights of ``missing``."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    torch.save(ResnetGenerator(**TINY).state_dict(), folder / "missing.pth")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def worker(settings, mirror):
    names = ("redis_url", "data_dir", "weights_dir", "device")
    env = os.environ | {f"DOPPEL_{name.upper()}": str(getattr(settings, name)) for name in names}
    env |= {"DOPPEL_WEIGHTS_URL": mirror, "DOPPEL_PRELOAD": "tiny,missing"}
    with process(sys.executable, "-m", "app.cli", "worker", env=env) as child:
        yield child


def test_a_worker_preloads_translates_and_fetches_what_is_wanted(worker, queue, settings):
    eventually(lambda: queue.workers(seen_within_s=60), within_s=60)
    report = queue.workers(seen_within_s=60)[0]
    assert (report.pid, report.device, report.loaded) == (worker.pid, "cpu", ["tiny"])

    job = queue.submit(TranslationTask(model="tiny", height=32, width=32), first_pixel((1, 2, 3)), decode_ms=1)
    eventually(lambda: queue.state(job).status.ended)
    assert queue.state(job).status is Status.SUCCEEDED, queue.state(job).error

    job = queue.submit(TranslationTask(model="missing", height=32, width=32), first_pixel((1, 2, 3)), decode_ms=1)
    eventually(lambda: queue.state(job).status.ended)
    assert "doppel pull missing" in queue.state(job).error.detail

    queue.want("missing")
    catalog = Catalog(settings.weights_dir, settings.data_dir)
    eventually(lambda: catalog.get("missing").availability == "ready", within_s=60)
    job = queue.submit(TranslationTask(model="missing", height=32, width=32), first_pixel((1, 2, 3)), decode_ms=1)
    eventually(lambda: queue.state(job).status.ended)
    assert queue.state(job).status is Status.SUCCEEDED, queue.state(job).error
