"""A service whose worker is fake, one that trains, and a browser, each one for all tests of the page."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.settings import Settings
from models.store.run_folder import RunFolder
from models.store.run_lock import lock_run
from models.store.run_status import Alarm, RunState, read_status, write_status
from tests.chromium import NOT_FOUND, chromium
from tests.processes import ROOT, api, environment, eventually, fake_worker, preparer, process, ready
from tests.studio.runs import written
from worker.embedded_redis import EmbeddedRedis

CLIENT = "tests-of-the-studio"  # as the page names itself
PATIENCE_MS = 30_000  # for what should come at once, on a machine that runs other tests beside
DESKTOP = {"width": 1280, "height": 900}

expect.set_options(timeout=PATIENCE_MS)


def describe(folder: Path, name: str, **card: object) -> None:
    """Write a model folder whose weights nobody reads: the worker is fake."""
    folder = folder / name
    folder.mkdir(parents=True)
    fields = {
        **{"name": name, "family": "cyclegan", "network": {}, "image_size": 64, "licence": "MIT", "source": "tests"},
        **{"description": f"<b>{name}</b> inverts", "files": [{"name": "weights.safetensors"}]},
    }
    (folder / "model.json").write_text(json.dumps(fields | card))
    (folder / "weights.safetensors").touch()
    shutil.copy(ROOT / "weights" / "style_monet-lite" / "sample.jpg", folder)


@pytest.fixture(scope="package")
def settings(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    redis.Redis.from_url(redis_server.url).flushall()
    folder = tmp_path_factory.mktemp("studio")
    for name in ("style_monet", "other"):
        describe(folder / "weights", name)
    painter = dict.fromkeys(("code_dim", "full", "half", "quarter", "half_out", "full_out", "n_blocks"), 1)
    describe(folder / "weights", "style-by-example", family="style", network=painter)
    stargan = {"img_size": 64, "w_hpf": 0}
    describe(folder / "weights", "far")
    (folder / "weights" / "far" / "weights.safetensors").unlink()
    describe(folder / "weights", "stars", family="stargan_v2", network=stargan, domains=["day", "night"])
    heads = {"network": stargan | {"landmarks": 1}, "align": "face"}
    describe(folder / "weights", "heads", family="stargan_v2", domains=["one", "other"], **heads)
    places = {"weights_dir": folder / "weights", "data_dir": folder / "var"}
    return Settings(redis_url=redis_server.url, device="cpu", offline=True, **places)


@pytest.fixture(scope="package")
def server(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the service, whose worker inverts pictures."""
    with api(settings) as client, fake_worker(str(settings.redis_url)):
        client.headers["X-Client"] = CLIENT
        yield client


@pytest.fixture(scope="package")
def behind(settings: Settings, server: httpx.Client) -> Iterator[httpx.Client]:
    """A client of the same service under a prefix."""
    with api(settings.model_copy(update={"root_path": "/doppel"})) as client:
        yield client


@pytest.fixture(scope="package")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a whole service of its own: a real worker with two small models, a trainer and a preparer."""
    folder = tmp_path_factory.mktemp("workshop")
    for name in ("style_monet-lite", "style-by-example"):
        shutil.copytree(ROOT / "weights" / name, folder / "weights" / name)
    redis_server = EmbeddedRedis(folder / "redis")
    redis_server.start()
    places = {"weights_dir": folder / "weights", "data_dir": folder / "var"}
    settings = Settings(redis_url=redis_server.url, device="cpu", offline=True, preload=[], **places)
    with (
        process(sys.executable, "-m", "app.cli", "trainer", env=environment(settings)),
        process(sys.executable, "-m", "app.cli", "worker", env=environment(settings)),
        preparer(settings, loaded="worker.estimation"),
        api(settings) as client,
    ):
        eventually(lambda: ready(client))
        client.headers["X-Client"] = CLIENT
        yield client
    redis_server.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    executable = chromium()
    if executable is None:
        pytest.skip(NOT_FOUND)
    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        # Chromium's own moving test picture is what its camera sees, and its clipboard is no other program's.
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=executable, args=as_root + camera)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """The page of a server, open. In the end it must have asked no other host, and logged no error.

    Chromium logs what the page's Content-Security-Policy forbids as an error, too.
    """
    context = browser.new_context(base_url=address, viewport=DESKTOP, reduced_motion="reduce")
    context.add_init_script(f"localStorage.setItem('doppel-client', '{CLIENT}')")
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto("/")
    page.locator("h1").wait_for(state="attached")  # the view is a module of its own
    yield page
    context.close()
    elsewhere = [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:", "data:"))]
    assert not elsewhere
    # Chromium reports every answer that is an error, and every lost connection; the page deals with those.
    assert not [text for text in errors if not text.startswith("Failed to load resource")]


@pytest.fixture
def page(browser: Browser, server: httpx.Client) -> Iterator[Page]:
    """The page of the service whose worker inverts pictures."""
    with opened(browser, str(server.base_url)) as page:
        yield page


@pytest.fixture
def trainers_page(browser: Browser, workshop: httpx.Client) -> Iterator[Page]:
    """The page of the service that trains."""
    with opened(browser, str(workshop.base_url)) as page:
        yield page


@pytest.fixture
def running(settings: Settings) -> Iterator[RunFolder]:
    """The folder of a run that trains, as its process would write it, in this process."""
    folder = written(settings, "photos", steps=[], state=RunState.RUNNING)
    status = read_status(folder.path)
    assert status is not None
    status.step = 10
    status.alarms = [Alarm(kind="collapse", subject="A → B", step=7, detail="A → B: all pictures are alike")]
    write_status(folder.path, status)
    with lock_run(folder.path):
        yield folder
    write_status(folder.path, status.model_copy(update={"status": RunState.STOPPED}))
