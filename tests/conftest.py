"""A real Redis for the whole run, emptied for each test, and a small catalog of models."""

import gc
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from xdist.scheduler import LoadFileScheduling

from app.settings import Settings
from models.store.model_card import ModelCard, ModelFile
from tests.blocking_queue import BlockingQueue
from tests.chromium import NOT_FOUND, chromium
from tests.processes import api, eventually, fake_worker, free_port, process
from worker.embedded_redis import EmbeddedRedis

# The networks in tests are so small that a second thread only waits for the first; children inherit this.
# Torch is loaded where it is used: xdist's own process, which reads this file too, runs no test.
os.environ["OMP_NUM_THREADS"] = "1"

gc.disable()  # until all is loaded

# A file's tests run in one process and share what its fixtures start. So do those of these folders.
TOGETHER = ("tests/app/training", "tests/app/run_requests", "tests/app/stargan", "tests/studio")
# They take the longest, the longest first, so they begin first: no file is left to one process while the others idle.
LONGEST = (
    "tests/app/training",
    "tests/studio",
    "tests/worker/test_training_process.py",
    "tests/app/run_requests",
    "tests/models/training/test_distributed.py",
    "tests/app/test_train_command.py",
    "tests/models/training/test_stargan_v2.py",
    "tests/worker/test_preparation_process.py",
    "tests/models/weights/test_onnx_export.py",
    "tests/models/training/test_cyclegan_runs.py",
    "tests/models/training/test_alarms.py",
    "tests/test_readme.py",
    "tests/fuzz",
    "tests/models/training",
    "tests/worker",
    "tests/app/test_datasets.py",
    "tests/app/test_translate.py",
    "tests/test_serve.py",
    "tests/models/test_stargan_v2.py",
    "tests/app/stargan",
    "tests/app/test_models.py",
    "tests/models/serving/test_engines.py",
    "tests/app",
)


def pytest_report_header() -> list[str]:
    """Say at the start which tests this machine can't run."""
    return [] if chromium() else [NOT_FOUND]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take the longest first."""
    items.sort(
        key=lambda item: next((n for n, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))
    )


def pytest_collection_finish() -> None:
    """Keep the garbage collector away from all that was loaded, which stays."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


class Scheduling(LoadFileScheduling):
    """Which tests xdist runs in the same process."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


TINY = {"ngf": 4, "n_blocks": 1}
TINY_STARGAN = {"img_size": 64, "style_dim": 8, "latent_dim": 16, "num_domains": 2, "base_dim": 4, "max_conv_dim": 8}
TINY_STARGAN |= {"w_hpf": 1}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    redis.Redis.from_url(redis_server.url).flushall()
    return redis_server.url


@pytest.fixture
def queue(redis_url: str) -> BlockingQueue:
    return BlockingQueue(redis_url)


def add_model(root: Path, name: str, *, ready: bool, **card: object) -> Path:
    """Write a model folder with a tiny generator; without its weights when it is not ``ready``."""
    import torch

    from models.cyclegan import ResnetGenerator
    from models.weights import doctor

    folder = root / name
    folder.mkdir(parents=True)
    upstream = ModelFile(name=f"{name}.pth", url=f"http://127.0.0.1:9/{name}.pth", format="pytorch")
    files = [upstream]
    if ready:
        torch.manual_seed(len(name))
        weights = folder / "weights.safetensors"
        doctor.save(ResnetGenerator(**TINY).state_dict(), weights)
        files = [ModelFile(name=weights.name, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())]
    fields = {
        "name": name,
        "family": "cyclegan",
        "network": TINY,
        "image_size": 64,
        "description": f"{name} for tests",
        "licence": "MIT",
        "source": "made for tests",
        "files": files,
    }
    (folder / "model.json").write_text(ModelCard(**(fields | card)).model_dump_json())
    return folder


def add_stargan(root: Path, name: str, **card: object) -> Path:
    """Write a folder with a tiny StarGAN v2 of two domains that carries edges over, ready to run."""
    import torch

    from models.stargan_v2.ensemble import Ensemble
    from models.stargan_v2.networks import init_he
    from models.weights import doctor

    torch.manual_seed(len(name))
    ensemble = Ensemble(**(card.get("network") or TINY_STARGAN))
    init_he(ensemble)
    if ensemble.landmarks is not None:
        ensemble.landmark_mean.copy_(torch.rand(98, 2) * 128 + 64)
    folder = root / name
    folder.mkdir(parents=True)
    weights = folder / "weights.safetensors"
    doctor.save(ensemble.state_dict(), weights)
    fields = {
        "name": name,
        "family": "stargan_v2",
        "network": TINY_STARGAN,
        "image_size": TINY_STARGAN["img_size"],
        "domains": ["painting", "photo"],
        "masks": "ones",
        "description": f"{name} for tests",
        "licence": "MIT",
        "source": "made for tests",
        "files": [ModelFile(name=weights.name, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())],
    }
    (folder / "model.json").write_text(ModelCard(**(fields | card)).model_dump_json())
    return folder


def let_overflow(folder: Path) -> None:
    """Give the generator of a model folder finite weights of which no finite picture can be made."""
    from models.weights import doctor

    weights, card = folder / "weights.safetensors", folder / "model.json"
    state = doctor.load(weights).state
    state["model.4.weight"].fill_(3e38)
    before = hashlib.sha256(weights.read_bytes()).hexdigest()
    doctor.save(state, weights)
    card.write_text(card.read_text().replace(before, hashlib.sha256(weights.read_bytes()).hexdigest()))


@pytest.fixture
def weights_dir(tmp_path: Path) -> Path:
    """Models: ``tiny`` ready, ``borrower`` that falls back to it, ``missing`` without weights."""
    root = tmp_path / "weights"
    add_model(root, "tiny", ready=True)
    add_model(root, "borrower", ready=False, fallback="tiny")
    add_model(root, "missing", ready=False)
    return root


@pytest.fixture
def settings(redis_url: str, weights_dir: Path, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, weights_dir=weights_dir, data_dir=tmp_path / "var", device="cpu", offline=True)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the real HTTP server, with no worker behind the queue."""
    with api(settings) as connected:
        yield connected


@pytest.fixture
def service(client: httpx.Client, redis_url: str) -> Iterator[httpx.Client]:
    """A client of the whole service, with a real worker process around the fake model."""
    with fake_worker(redis_url):
        yield client


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running stack: its process, a client, and what it printed."""
    data_dir = tmp_path_factory.mktemp("data")
    port = free_port()
    env = {key: value for key, value in os.environ.items() if not key.startswith("DOPPEL_")}
    env |= {"DOPPEL_PORT": str(port), "DOPPEL_DATA_DIR": str(data_dir), "DOPPEL_OFFLINE": "1"}
    output = data_dir / "output"
    output.touch()
    command = f"cd {data_dir} && exec {sys.executable} -m app.cli serve >{output} 2>&1"  # not in the checkout
    with (
        process("bash", "-c", command, env=env) as child,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client,
    ):
        eventually(lambda: "Ctrl-C stops it" in output.read_text())
        yield child, client, output
