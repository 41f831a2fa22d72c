"""The two folders of models, and what ships in the first."""

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from models.errors import CatalogError, ModelUnavailable, UnknownModel
from models.store.catalog import Catalog
from models.store.model_archives import export_chunks
from tests.conftest import add_model

SHIPPED = Catalog(Path(__file__).parents[3] / "weights", Path("/nonexistent"))
LITE = ["monet2photo-lite", "style_monet-lite"]
STYLES = [name for name in SHIPPED.names() if name.startswith("style-")]


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
    whole = {*LITE, "stargan-monet-lite", *STYLES}
    families = [SHIPPED.get(name).card.family for name in set(names) - whole]
    assert (families.count("cyclegan"), families.count("stargan_v2")) == (24, 2)
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


def test_the_shipped_styles_are_what_their_cards_say():
    by_example, *fixed = sorted((SHIPPED.get(name) for name in STYLES), key=lambda model: model.card.code is not None)
    assert (by_example.name, len(fixed)) == ("style-by-example", 26)
    assert {tuple(model.card.code) for model in fixed} == {tuple(int(n == k) for k in range(26)) for n in range(26)}
    assert len({model.weights for model in fixed}) == 1
    for model in (by_example, fixed[0]):
        assert hashlib.sha256(model.weights.read_bytes()).hexdigest() == model.sha256
        assert model.weights.stat().st_size <= 6 << 20
        assert "Apache License" in model.weights.with_name("LICENSE").read_text()
    for model in (by_example, *fixed):
        assert model.card.licence.startswith("Weights: Apache-2.0")
        assert model.sample.stat().st_size <= 6 << 10


def test_a_model_is_exported_with_the_weights_that_it_shares(tmp_path):
    model = SHIPPED.get("style-embers")
    with zipfile.ZipFile(io.BytesIO(b"".join(export_chunks(model)))) as archive:
        card = json.loads(archive.read("model.json"))
        assert archive.read("weights.safetensors") == model.weights.read_bytes()
    assert "shared" not in card
    assert card["code"] == model.card.code


def test_shared_weights_may_be_missing(tmp_path):
    shutil.copytree(SHIPPED.weights_dir / "style-embers", tmp_path / "weights" / "style-embers")
    catalog = Catalog(tmp_path / "weights", tmp_path / "data")
    assert catalog.get("style-embers").availability == "not fetched"
    shutil.copytree(SHIPPED.weights_dir / "style-26", tmp_path / "weights" / "style-26")
    assert catalog.get("style-embers").availability == "ready"
    assert catalog.names() == ["style-embers"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"code": [1.0] * 25}, "code has 25 numbers; 26 finite ones are needed"),
        ({"code": None}, "neither a style code"),
        ({"shared": "../style-26"}, "no folder beside"),
    ],
)
def test_a_card_that_no_picture_can_be_painted_with_is_refused(tmp_path, changed, why):
    card = json.loads((SHIPPED.weights_dir / "style-embers" / "model.json").read_text()) | changed
    (tmp_path / "style-embers").mkdir()
    (tmp_path / "style-embers" / "model.json").write_text(json.dumps(card))
    with pytest.raises(CatalogError, match=why):
        Catalog(tmp_path, tmp_path / "data").get("style-embers")


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


@pytest.mark.parametrize("file", ["lock.json", "fetch-failed.json"])
@pytest.mark.parametrize("content", ["{", "[1]", "5", "{}", '{"failed_at": "yesterday", "why": 1}'])
def test_a_note_of_a_fetch_that_makes_no_sense_spoils_no_list(catalog, file, content):
    folder = catalog.models_dir / "missing"
    folder.mkdir(parents=True)
    (folder / file).write_text(content)
    assert {"borrower", "tiny"} <= {model.name for model in catalog.all()}
