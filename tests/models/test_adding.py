"""Anyone's weights become models, and models move from one place to another."""

import io
import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch

from models import pixels
from models.adding import add
from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.device import ServingDevice
from models.errors import (
    ArchiveError,
    CatalogError,
    CheckpointError,
    DoppelError,
    Invalid,
    NameTaken,
    NotFinite,
    NotInstalled,
)
from models.serving.stylist import Stylist
from models.serving.translator import Translator
from models.store.additions import Addition
from models.store.catalog import Catalog
from models.store.model_archives import ModelArchive, export
from models.store.versions import Versions
from models.weights import doctor
from tests.conftest import TINY, add_model, add_stargan, let_overflow
from tests.pictures import landscape
from tests.processes import ROOT

CPU = ServingDevice("cpu")
PICTURE = np.asarray(landscape(64, 48))


class Place:
    """A data folder of its own."""

    def __init__(self, weights_dir, data_dir):
        self.catalog = Catalog(weights_dir, data_dir)
        self.versions = Versions(self.catalog, data_dir)
        self.data_dir = data_dir

    def add(self, path, **said):
        return add(path, self.versions, Addition(**said))

    def translate(self, name):
        return Translator(self.catalog.get(name), CPU)([PICTURE])[0]


@pytest.fixture
def place(weights_dir, tmp_path):
    return Place(weights_dir, tmp_path / "data")


@pytest.fixture
def elsewhere(tmp_path):
    return Place(tmp_path / "none", tmp_path / "elsewhere")


def generator(**form):
    torch.manual_seed(3)
    network = ResnetGenerator(**TINY, **form).eval()
    for name, buffer in network.named_buffers():  # statistics as training leaves them
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network


def plain(network):
    return network.state_dict()


def of_lightning(network):
    state = {f"gen_AB.{key}": tensor for key, tensor in network.state_dict().items()}
    state |= {f"disc.{key}": tensor for key, tensor in PatchDiscriminator(ndf=4).state_dict().items()}
    return {"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 0.1}}


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("form", "wrapped", "said"),
    [
        ({}, plain, {}),
        ({"dropout": True}, plain, {}),
        ({"norm": "batch"}, plain, {}),
        ({"antialias": True}, plain, {}),
        ({}, of_lightning, {}),
        ({"padding": "replicate"}, plain, {"padding": "replicate"}),
    ],
    ids=["plain", "dropout", "batch", "antialias", "lightning", "replicate"],
)
def test_a_foreign_checkpoint_translates_as_its_own_network_does(place, tmp_path, form, wrapped, said):
    network = generator(**form)
    with torch.inference_mode():
        expected = pixels.to_pictures(network(pixels.to_tensor([PICTURE])))[0]
    path = saved(tmp_path / "latest_net_G_A.pth", wrapped(network))
    card = place.add(path, name="mine", licence="CC0", **said)
    assert np.abs(place.translate("mine").astype(int) - expected).max() <= 1
    assert (card.network, card.licence, card.version) == (
        TINY | {"norm": "instance", "dropout": False, "padding": "reflect", "antialias": False} | form,
        "CC0",
        1,
    )
    path.unlink()  # it was copied
    assert place.catalog.get("mine").availability == "ready"


def test_a_stargan_is_added_with_the_names_of_its_domains(place, tmp_path, weights_dir):
    weights = add_stargan(weights_dir, "other") / "weights.safetensors"
    with pytest.raises(Invalid, match="StarGAN v2 of 2 domains, whose names"):
        place.add(weights, name="styles")
    with pytest.raises(Invalid, match="1 names are given"):
        place.add(weights, name="styles", domains=["painting"])
    card = place.add(weights, name="styles", domains=["painting", "photo"], w_hpf=2)
    assert (card.masks, card.align, card.image_size, card.network["w_hpf"]) == ("ones", "none", 64, 2)
    Stylist(place.catalog.get("styles"), CPU)


def without_numbers():
    state = generator().state_dict()
    state["model.1.weight"][0, 0, 0, 0] = float("nan")
    return state


def too_large():
    return {key: tensor * 1e30 for key, tensor in generator(norm="batch").state_dict().items()}


@pytest.mark.parametrize(
    ("content", "said", "error", "words"),
    [
        (without_numbers, {"name": "new"}, CheckpointError, "not finite"),
        (too_large, {"name": "new"}, CheckpointError, "what it makes of a picture is not"),
        (lambda: PatchDiscriminator(ndf=4).state_dict(), {"name": "new"}, CheckpointError, "makes no pictures"),
        (lambda: generator().state_dict(), {}, Invalid, "needs a name"),
        (lambda: generator().state_dict(), {"name": "tiny"}, NameTaken, "'tiny'"),
        (lambda: generator().state_dict(), {"name": "new", "domains": ["a"]}, Invalid, "domains: .*leave it out"),
        (
            lambda: generator(padding="zero").state_dict(),
            {"name": "new", "padding": "replicate"},
            Invalid,
            "trained with zero padding",
        ),
    ],
)
def test_what_cannot_be_added_is_refused_and_leaves_nothing(place, tmp_path, content, said, error, words):
    with pytest.raises(error, match=words):
        place.add(saved(tmp_path / "file.pth", content()), **said)
    assert place.catalog.names() == ["borrower", "missing", "tiny"]
    assert not [path for path in place.data_dir.rglob("*") if path.is_file() and path.parent.name != ".locks"]


def test_a_name_is_taken_once(place, tmp_path):
    path = saved(tmp_path / "file.pth", generator().state_dict())
    place.add(path, name="mine")
    with pytest.raises(NameTaken, match="There is a model 'mine' already"):
        place.add(path, name="mine")
    place.versions.remove("mine")
    assert place.add(path, name="mine").version == 1


@pytest.fixture
def no_torch(monkeypatch):
    """Call it, and torch can't be imported any more."""
    return lambda: monkeypatch.setitem(sys.modules, "torch", None)


def test_an_exported_model_is_added_and_refused_without_torch(place, elsewhere, weights_dir, tmp_path, no_torch):
    add_stargan(weights_dir, "styles")
    weights = saved(tmp_path / "g.pth", generator(norm="batch").state_dict())
    place.add(weights, name="mine")
    for name in ("mine", "styles"):
        export(place.catalog.get(name), tmp_path / f"{name}.zip")
    no_torch()
    for name in ("mine", "styles"):
        assert elsewhere.add(tmp_path / f"{name}.zip").name == name
        assert elsewhere.catalog.get(name).availability == "ready"
    assert np.array_equal(elsewhere.translate("mine"), place.translate("mine"))
    rewritten(tmp_path / "mine.zip", card_with(network=TINY | {"n_blocks": 2, "norm": "batch"}))
    with pytest.raises(CheckpointError, match=r"lacks model\."):
        elsewhere.add(tmp_path / "mine.zip", name="other")
    with pytest.raises(NotInstalled, match="Adding a weights file needs torch"):
        elsewhere.add(weights, name="other")


@pytest.mark.parametrize("name", ["style-by-example", "style-wave-print"])
def test_a_painter_moves_with_its_weights(elsewhere, tmp_path, name, no_torch):
    ships = Catalog(ROOT / "weights", tmp_path / "none").get(name)
    export(ships, tmp_path / "painter.zip")
    no_torch()
    card = elsewhere.add(tmp_path / "painter.zip")
    assert (card.code, card.shared) == (ships.card.code, None)
    assert elsewhere.catalog.get(name).availability == "ready"


def test_an_exported_model_translates_alike_elsewhere(place, elsewhere, tmp_path):
    place.add(
        saved(tmp_path / "g.pth", generator(norm="batch", padding="zero").state_dict()), name="mine", licence="CC0"
    )
    archive = tmp_path / "mine.zip"
    export(place.catalog.get("mine"), archive)
    card = elsewhere.add(archive)
    assert (card.name, card.licence, card.version) == ("mine", "CC0", 1)
    assert np.array_equal(elsewhere.translate("mine"), place.translate("mine"))
    assert elsewhere.add(archive, name="again", description="a copy").description == "a copy"
    export(elsewhere.catalog.get("mine"), tmp_path / "back.zip")
    assert (tmp_path / "back.zip").read_bytes() == archive.read_bytes()


def test_an_exported_model_may_stand_in_for_the_one_that_ships_without_its_weights(place, tmp_path):
    """As official weights do that were fetched on a machine with a network."""
    network = generator()
    missing, archive = tmp_path / "missing.pth", tmp_path / "missing.zip"
    saved(missing, network.state_dict())
    fetched = Place(tmp_path / "none", tmp_path / "fetched")
    fetched.add(missing, name="missing")
    export(fetched.catalog.get("missing"), archive)
    with pytest.raises(NameTaken):
        place.add(archive)
    with pytest.raises(NameTaken):  # which could be anything
        add(missing, place.versions, Addition(name="missing"), in_place_of_missing=True)
    add(archive, place.versions, Addition(), in_place_of_missing=True)
    assert np.array_equal(place.translate("missing"), fetched.translate("missing"))
    for name in ("tiny", "missing"):  # whose weights are here
        with pytest.raises(NameTaken):
            add(archive, place.versions, Addition(name=name), in_place_of_missing=True)
    place.versions.remove("missing")
    assert place.catalog.get("missing").availability == "not fetched"


def test_a_model_folder_that_was_zipped_by_hand_is_taken_too(place, elsewhere, tmp_path, weights_dir):
    add_model(weights_dir, "handmade", ready=True)
    shutil.make_archive(str(tmp_path / "handmade"), "zip", weights_dir, "handmade")
    elsewhere.add(tmp_path / "handmade.zip")
    assert np.array_equal(elsewhere.translate("handmade"), place.translate("handmade"))


def rewritten(archive, change):
    """An archive with other members; ``change`` gets and changes them by name."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    archive.write_bytes(data.getvalue())


def card_with(**fields):
    def change(members):
        members["model.json"] = json.dumps(json.loads(members["model.json"]) | fields).encode()

    return change


def flipped(members):
    members["weights.safetensors"] = members["weights.safetensors"][:-1] + b"\x7f"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (flipped, ArchiveError, "changed or damaged on the way"),
        (lambda members: members.pop("weights.safetensors"), ArchiveError, "holds no weights.safetensors"),
        (lambda members: members.update({"../../evil": b""}), ArchiveError, "a path outside itself"),
        (lambda members: members.update({"x/model.json": b"{}"}), ArchiveError, "more than once"),
        (lambda members: members.update({"model.json": b"{}"}), ArchiveError, "not a model card: name: Field required"),
        (lambda members: members.update({"model.json": b" " * (1 << 20)}), ArchiveError, "at most 262,144 are taken"),
        (card_with(network={"ngf": 64}), CheckpointError, r"ngf 4, n_blocks 1; expected .* ngf 64"),
        (card_with(network={"layers": 3}), ArchiveError, "not a model card"),
        (card_with(name="../evil"), DoppelError, "can't be the name of a model"),
    ],
)
def test_an_archive_that_was_tampered_with_is_refused(place, elsewhere, tmp_path, change, error, words):
    archive = tmp_path / "tiny.zip"
    export(place.catalog.get("tiny"), archive)
    rewritten(archive, change)
    with pytest.raises(error, match=words):
        elsewhere.add(archive)
    assert elsewhere.catalog.names() == []


def test_weights_larger_than_allowed_are_refused_before_they_are_unpacked(place, tmp_path):
    archive = tmp_path / "tiny.zip"
    export(place.catalog.get("tiny"), archive)
    with pytest.raises(ArchiveError, match="at most 1,000 are taken"):
        ModelArchive(archive, max_bytes=1000)


def test_masks_by_landmarks_need_the_landmark_network(weights_dir, tmp_path):
    for field, value in (("masks", "landmarks"), ("align", "face")):
        folder = add_stargan(weights_dir, f"faces-{field}")
        card = folder / "model.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | {field: value}))
        with pytest.raises(CatalogError, match=f"{field} is '{value}', but the model has no landmark network"):
            Catalog(weights_dir, tmp_path / "data").get(folder.name)


def test_no_picture_is_made_of_what_is_not_finite(place):
    let_overflow(place.catalog.weights_dir / "tiny")
    translator = Translator(place.catalog.get("tiny"), CPU)
    with pytest.raises(NotFinite, match="What 'tiny' makes of this picture"):
        translator([PICTURE])
    assert doctor.load(place.catalog.get("tiny").weights)
