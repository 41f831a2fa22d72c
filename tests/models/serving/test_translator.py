"""A model as a function of pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import pixels
from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.errors import CheckpointError, ModelUnavailable
from models.serving.translator import Translator
from models.store.catalog import Catalog
from models.weights import doctor
from tests.pictures import landscape

CPU = ServingDevice("cpu")
PICTURE = np.asarray(landscape())


@pytest.fixture
def catalog(weights_dir, tmp_path):
    return Catalog(weights_dir, tmp_path / "data")


def test_a_batch_gives_each_picture_what_it_gets_alone(catalog):
    translate = Translator(catalog.get("tiny"), CPU)
    other = PICTURE[::-1]
    batch = translate([PICTURE, other])
    for together, alone in zip(batch, (translate([PICTURE])[0], translate([other])[0]), strict=True):
        assert together.shape == PICTURE.shape
        assert together.dtype == np.uint8
        assert np.abs(together.astype(int) - alone).max() <= 1


def test_the_reduced_precision_that_is_chosen_keeps_the_picture(catalog):
    """Whatever precision this machine favours, about 40 dB against float32 are left."""
    model = catalog.get("tiny")
    network = ResnetGenerator(**model.card.network)
    network.load_state_dict(doctor.load(model.weights).state)
    with torch.inference_mode():
        expected = pixels.to_pictures(network(pixels.to_tensor([PICTURE])))[0]
    actual = Translator(model, CPU)([PICTURE])[0]
    mse = np.square(actual.astype(float) - expected).mean()
    assert mse == 0 or 10 * np.log10(255**2 / mse) >= 38  # rounding to levels costs a little


def test_weights_that_changed_since_the_card_was_written_are_refused(catalog):
    model = catalog.get("tiny")
    data = bytearray(model.weights.read_bytes())
    data[-1] ^= 1
    model.weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="sha256"):
        Translator(model, CPU)


def test_a_model_without_weights_is_unavailable(catalog):
    with pytest.raises(ModelUnavailable):
        Translator(catalog.get("missing"), CPU)


def test_a_margin_is_given_and_cropped_off(catalog):
    model = catalog.get("tiny")
    padded = np.pad(PICTURE, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    expected = Translator(model, CPU)([padded])[0][8:-8, 8:-8]
    with_margin = replace(model, card=model.card.model_copy(update={"margin": 8}))
    actual = Translator(with_margin, CPU)([PICTURE])[0]
    assert actual.shape == PICTURE.shape
    assert np.abs(actual.astype(int) - expected).max() <= 1
    tiny = np.asarray(landscape(16, 16))
    assert Translator(replace(model, card=model.card.model_copy(update={"margin": 32})), CPU)([tiny])[0].shape == (
        16,
        16,
        3,
    )
