"""A service with a real worker that holds tiny StarGANs v2, one for all tests here."""

import sys

import pytest

from app.settings import Settings
from tests.conftest import TINY_STARGAN, add_model, add_stargan
from tests.processes import api, environment, eventually, process, ready


@pytest.fixture(scope="package")
def service(redis_server, tmp_path_factory):
    """A client of the service: a CycleGAN ``tiny`` and two StarGANs, one of them the default."""
    root = tmp_path_factory.mktemp("stargan")
    add_model(root / "weights", "tiny", ready=True)
    for name in ("stargan-monet-lite", "other"):
        add_stargan(root / "weights", name)
    network = TINY_STARGAN | {"landmarks": 1}
    add_stargan(root / "weights", "faces", network=network, align="face", masks="landmarks")
    settings = Settings(
        redis_url=redis_server.url, weights_dir=root / "weights", data_dir=root / "var", device="cpu", offline=True
    )
    with (
        api(settings) as client,
        process(
            sys.executable,
            "-m",
            "app.cli",
            "worker",
            env=environment(settings) | {"DOPPEL_PRELOAD": "stargan-monet-lite"},
        ),
    ):
        eventually(lambda: ready(client))
        yield client
