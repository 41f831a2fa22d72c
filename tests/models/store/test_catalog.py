"""The two folders of models, and what ships in the first."""

import hashlib
from pathlib import Path

import pytest

from models.errors import CatalogError, ModelUnavailable, UnknownModel
from models.store.catalog import Catalog
from tests.conftest import add_model

SHIPPED = Catalog(Path(__file__).parents[3] / "weights", Path("/nonexistent"))
LITE = ["monet2photo-lite", "style_monet-lite"]


@pytest.fixture
def catalog(weights_dir, tmp_path):
    return Catalog(weights_dir, tmp_path / "data")


def test_a_ready_model_runs_as_itself(catalog):
    assert catalog.resolve("tiny").name == "tiny"


def test_a_model_without_weights_runs_as_its_fallback(catalog):
    assert catalog.resolve("borrower").name == "tiny"


def test_without_weights_or_fallback_it_is_unavailable(catalog):
    with pytest.raises(ModelUnavailable, match="doppel pull missing"):
        catalog.resolve("missing")


@pytest.mark.parametrize("name", ["nothing", "", "../weights/tiny", "tiny/", "."])
def test_an_unknown_name_is_answered_with_the_known_ones(catalog, name):
    with pytest.raises(UnknownModel, match="borrower, missing, tiny"):
        catalog.get(name)


def test_a_published_model_joins_those_that_ship(catalog):
    add_model(catalog.models_dir, "published", ready=True)
    assert catalog.names() == ["borrower", "missing", "published", "tiny"]
    assert catalog.get("published").availability == "ready"


@pytest.mark.parametrize("content", ["", "{", "{}", '{"name": "odd"}'])
def test_a_card_that_makes_no_sense_is_named(catalog, content):
    folder = catalog.models_dir / "odd"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(content)
    with pytest.raises(CatalogError, match=r"odd/model\.json"):
        catalog.get("odd")


def test_a_card_that_makes_no_sense_spoils_no_list(catalog):
    for name in ("odd", "my model", ".hidden"):
        folder = catalog.models_dir / name
        folder.mkdir(parents=True)
        (folder / "model.json").write_text("{")
    assert [model.name for model in catalog.all()] == ["borrower", "missing", "tiny"]


def test_a_fallback_that_is_not_there_is_none(catalog):
    add_model(catalog.models_dir, "alone", ready=False, fallback="nothing")
    with pytest.raises(ModelUnavailable):
        catalog.resolve("alone")


def test_a_card_that_names_another_model_is_refused(catalog):
    add_model(catalog.models_dir, "one", ready=True)
    (catalog.models_dir / "one").rename(catalog.models_dir / "two")
    with pytest.raises(CatalogError, match="names the model 'one'"):
        catalog.get("two")


def test_the_official_models_ship_as_cards_and_the_lite_ones_whole():
    names = SHIPPED.names()
    whole = {*LITE, "stargan-monet-lite"}
    families = [SHIPPED.get(name).card.family for name in set(names) - whole]
    assert (families.count("cyclegan"), families.count("stargan_v2")) == (18, 2)
    for name in names:
        model = SHIPPED.get(name)
        assert (model.availability == "ready") is (name in whole)
        assert model.card.licence
        assert model.card.description


@pytest.mark.parametrize("name", LITE)
def test_a_shipped_model_is_what_its_card_says(name):
    model = SHIPPED.get(name)
    data = model.weights.read_bytes()
    assert hashlib.sha256(data).hexdigest() == model.sha256
    assert len(data) <= 8 << 20
    assert model.card.network["ngf"] <= 32
    assert "research" in model.card.licence


def test_the_shipped_stargan_is_what_its_card_says():
    model = SHIPPED.get("stargan-monet-lite")
    data = model.weights.read_bytes()
    assert hashlib.sha256(data).hexdigest() == model.sha256
    assert len(data) <= 12 << 20
    assert (model.card.domains, model.card.align, model.card.masks) == (["painting", "photo"], "none", "ones")
    assert "research" in model.card.licence


@pytest.mark.parametrize("name", ["monet2photo", "style_monet"])
def test_the_monet_models_have_a_twin_for_machines_without_network(name):
    assert SHIPPED.resolve(name).name == f"{name}-lite"
