"""One service for each file, and both clients behind one face, so that each test runs with each."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterator

import pytest
import redis

import doppel
from app.settings import Settings
from tests.conftest import add_model
from tests.fake_worker import GO
from tests.processes import api, fake_worker
from worker.embedded_redis import EmbeddedRedis


class Blocking:
    """An ``AsyncDoppel`` whose methods block, in one event loop."""

    def __init__(self, runner: asyncio.Runner, client: doppel.AsyncDoppel) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name):
        found = getattr(self._client, name)
        return (lambda *args, **options: self._runner.run(found(*args, **options))) if callable(found) else found


@pytest.fixture(params=["Doppel", "AsyncDoppel"])
def connect(request, monkeypatch) -> Iterator[Callable[..., doppel.Doppel | Blocking]]:
    """Called with the arguments of a client, it gives one that blocks."""
    for name in ("DOPPEL_URL", "DOPPEL_API_KEY", "DOPPEL_CLIENT"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.ExitStack() as opened:

        def connected(*args, **options):
            options = {"trust_env": False, "verify": False, **options}
            if request.param == "Doppel":
                return opened.enter_context(doppel.Doppel(*args, **options))
            runner = opened.enter_context(asyncio.Runner())
            client = doppel.AsyncDoppel(*args, **options)
            opened.callback(lambda: runner.run(client.aclose()))
            return Blocking(runner, client)

        yield connected


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A client of a service with the fake worker."""
    root = tmp_path_factory.mktemp("service")
    add_model(root / "weights", "tiny", ready=True)
    add_model(root / "weights", "missing", ready=False)
    queue = EmbeddedRedis(root / "redis")
    queue.start()
    settings = Settings(
        redis_url=queue.url, weights_dir=root / "weights", data_dir=root / "var", device="cpu", offline=True
    )
    with api(settings) as client, fake_worker(queue.url):
        client.redis_url = queue.url
        yield client
    queue.stop()


@pytest.fixture
def go(service):
    """Called, it lets the worker go on with pictures that are ``HELD``."""
    connection = redis.Redis.from_url(service.redis_url)
    yield lambda: connection.set(GO, 1)
    connection.delete(GO)


@pytest.fixture
def server(connect, service):
    """A client of a real service with the fake worker."""
    return connect(str(service.base_url))


def public(kind: type) -> dict[str, Callable[..., object]]:
    """The methods that users call, by name."""
    return {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}
