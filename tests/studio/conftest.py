"""One server, one worker and one browser for all tests of the page."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from playwright.sync_api import Browser, Page, sync_playwright

from app.settings import Settings
from tests.chromium import NOT_FOUND, chromium
from tests.processes import ROOT, api, fake_worker
from worker.embedded_redis import EmbeddedRedis

CLIENT = "tests-of-the-studio"  # as the page names itself
DESKTOP = {"width": 1280, "height": 900}


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
def browser() -> Iterator[Browser]:
    executable = chromium()
    if executable is None:
        pytest.skip(NOT_FOUND)
    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=as_root)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: httpx.Client) -> Iterator[Page]:
    """The page, open. At the end of each test it must have asked no other host, and logged no error."""
    context = browser.new_context(base_url=str(server.base_url), viewport=DESKTOP, reduced_motion="reduce")
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
