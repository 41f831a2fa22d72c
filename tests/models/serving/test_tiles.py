"""A picture that is translated in tiles is the picture that is translated whole."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.errors import CheckpointError
from models.serving.openvino_engine import OpenVINOTranslator
from models.serving.tiles import Tiling, translate_in_tiles
from models.serving.torch_engine import TorchTranslator
from models.store.catalog import Catalog
from models.store.files import sha256
from models.store.model_card import CycleGANNetwork
from models.weights import doctor
from tests.conftest import TINY, add_model
from tests.pictures import landscape

CPU = ServingDevice("cpu")
PICTURE = np.asarray(landscape(200, 136))
WHOLE = 10**6


@pytest.fixture
def model(weights_dir, tmp_path):
    return Catalog(weights_dir, tmp_path / "data").get("tiny")


def tiled(network, picture, tiling):
    out = np.zeros_like(picture)
    shares = list(translate_in_tiles(network, picture, out, tiling, name="tiny"))
    return out, shares


def with_margin(model, margin):
    return replace(model, card=model.card.model_copy(update={"margin": margin}))


class MeasuredWhole:
    """A network whose statistics are those of the whole picture, whatever the sample."""

    def __init__(self, network, framed):
        self._network, self._framed = network, framed

    def measuring(self):
        moments = self._network.measuring()(self._framed[np.newaxis])
        return lambda pictures: moments

    def fixed(self, moments):
        return self._network.fixed(moments)


@pytest.mark.parametrize("engine", [OpenVINOTranslator, TorchTranslator])
@pytest.mark.parametrize("margin", [0, 8])
def test_with_the_statistics_of_the_whole_picture_tiles_are_its_parts(model, engine, margin):
    network = engine(with_margin(model, margin), CPU)
    tiling = replace(
        Tiling.of(CycleGANNetwork(**TINY), margin=margin, number_bytes=4), step_pixels=80 * 80, crop_side=32
    )
    framed = np.pad(PICTURE, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    made, shares = tiled(MeasuredWhole(network, framed), PICTURE, tiling)
    expected = network(PICTURE[np.newaxis])[0][0]
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert len(shares) > 12
    assert shares == sorted(shares)
    assert shares[-1] == 1


def add_weights(weights_dir, name, network):
    folder = add_model(weights_dir, name, ready=False, network=network, files=[])
    doctor.save(ResnetGenerator(**network).state_dict(), folder / "weights.safetensors")
    card = json.loads((folder / "model.json").read_text()) | {"files": [{"name": "weights.safetensors"}]}
    (folder / "model.json").write_text(json.dumps(card))


def test_tiles_are_the_parts_of_what_an_anti_aliased_network_makes(weights_dir, tmp_path):
    torch.manual_seed(0)
    network = TINY | {"antialias": True}
    add_weights(weights_dir, "blurred", network)
    translator = OpenVINOTranslator(Catalog(weights_dir, tmp_path / "data").get("blurred"), CPU)
    tiling = replace(Tiling.of(CycleGANNetwork(**network), margin=0, number_bytes=4), step_pixels=112 * 112)
    made, shares = tiled(MeasuredWhole(translator, PICTURE), PICTURE, tiling)
    expected = translator(PICTURE[np.newaxis])[0][0]
    assert expected.std() > 10
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert len(shares) > 4


def test_the_tiles_of_a_full_size_network_reach_far_enough(weights_dir, tmp_path):
    """88 px to each side, so its smallest tiles are larger than those of the others."""
    torch.manual_seed(0)
    network = {"ngf": 64, "n_blocks": 9}
    add_weights(weights_dir, "full", network)
    translator = OpenVINOTranslator(Catalog(weights_dir, tmp_path / "data").get("full"), CPU)
    picture = np.asarray(landscape(304, 64))
    tiling = replace(Tiling.of(CycleGANNetwork(**network), margin=0, number_bytes=4), step_pixels=264 * 64)
    assert tiling.reach == 88
    made, shares = tiled(MeasuredWhole(translator, picture), picture, tiling)
    expected = translator(picture[np.newaxis])[0][0]
    assert expected.std() > 10
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert len(shares) >= 1 + 4


def test_weights_are_verified_once_unless_the_file_changes(weights_dir, model, monkeypatch):
    verified = []
    monkeypatch.setattr("models.store.catalog.sha256", lambda path: verified.append(path) or sha256(path))
    weights = weights_dir / "tiny" / "weights.safetensors"
    known = replace(model, sha256=sha256(weights))
    network = OpenVINOTranslator(known, CPU)
    tiling = replace(Tiling.of(CycleGANNetwork(**TINY), margin=0, number_bytes=4), step_pixels=80 * 80)
    tiled(network, PICTURE, tiling)
    assert len(verified) == 1
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointError, match="has sha256"):
        tiled(network, PICTURE, tiling)


@pytest.mark.parametrize("engine", [OpenVINOTranslator, TorchTranslator])
def test_batch_normalisation_needs_no_statistics(weights_dir, tmp_path, engine):
    add_weights(weights_dir, "batch", TINY | {"norm": "batch"})
    network = engine(Catalog(weights_dir, tmp_path / "data").get("batch"), CPU)
    tiling = replace(Tiling.of(CycleGANNetwork(**TINY, norm="batch"), margin=0, number_bytes=4), step_pixels=80 * 80)
    made, _ = tiled(network, PICTURE, tiling)
    assert np.abs(made.astype(int) - network(PICTURE[np.newaxis])[0][0]).max() <= 1


@pytest.mark.parametrize("engine", [OpenVINOTranslator, TorchTranslator])
def test_a_sample_that_is_the_whole_picture_has_its_statistics(model, engine):
    network = engine(model, CPU)
    tiling = replace(Tiling.of(CycleGANNetwork(**TINY), margin=0, number_bytes=4), step_pixels=WHOLE)
    made, _ = tiled(network, PICTURE, tiling)
    assert np.abs(made.astype(int) - network(PICTURE[np.newaxis])[0][0]).max() <= 1
