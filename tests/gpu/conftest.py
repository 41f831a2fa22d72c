"""``pytest tests/gpu``, on a machine with a GPU. Elsewhere it is an error, so that no test passes that did not run."""

from pathlib import Path

import pytest
import torch

from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import init_he
from models.store.catalog import CARD_FILE, WEIGHTS_FILE, Catalog, Model
from models.store.model_card import ModelCard, ModelFile
from models.weights import doctor

CYCLEGAN = {"ngf": 32, "n_blocks": 3}
STARGAN = {"img_size": 64, "style_dim": 8, "latent_dim": 16, "num_domains": 2, "base_dim": 16, "max_conv_dim": 64}
STARGAN |= {"w_hpf": 1}


def pytest_collection_modifyitems() -> None:
    if not torch.cuda.is_available():
        raise pytest.UsageError("the tests in tests/gpu need a GPU that torch can use; none of them ran")


@pytest.fixture(scope="session")
def device() -> ServingDevice:
    return ServingDevice("cuda")


@pytest.fixture(scope="session")
def cyclegan(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    network = ResnetGenerator(**CYCLEGAN)
    return _model(tmp_path_factory.mktemp("models"), network, family="cyclegan", network=CYCLEGAN, margin=12)


@pytest.fixture(scope="session")
def stargan(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    ensemble = Ensemble(**STARGAN)
    init_he(ensemble)
    card = {"family": "stargan_v2", "network": STARGAN, "domains": ["painting", "photo"], "masks": "ones"}
    return _model(tmp_path_factory.mktemp("models"), ensemble, **card)


def _model(root: Path, network: torch.nn.Module, /, **card: object) -> Model:
    folder = root / "random"
    folder.mkdir()
    doctor.save(network.state_dict(), folder / WEIGHTS_FILE)
    fields = {"name": "random", "image_size": 64, "description": "random weights", "licence": "MIT", "source": "tests"}
    files = [ModelFile(name=WEIGHTS_FILE)]
    (folder / CARD_FILE).write_text(ModelCard(**fields, files=files, **card).model_dump_json(exclude_none=True))
    return Catalog(root, root / "none").get("random")
