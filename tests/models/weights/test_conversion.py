"""StarGAN v2's upstream files: three for faces, one for animals, none of them quite like ours."""

import numpy as np
import pytest
import torch

from models.errors import CheckpointError
from models.landmarks.network import LandmarkNetwork
from models.stargan_v2.ensemble import Ensemble
from models.stargan_v2.networks import init_he
from models.store.model_card import ModelCard, ModelFile
from models.weights import architecture, doctor, fetch
from models.weights.conversion import convert
from tests.processes import file_server

SMALL = {"img_size": 64, "style_dim": 8, "latent_dim": 4, "num_domains": 3, "base_dim": 4, "max_conv_dim": 8}


def networks(w_hpf, prefix="", **extra):
    """A file's content: a state dict for each network."""
    torch.manual_seed(0)
    ensemble = Ensemble(**SMALL, w_hpf=w_hpf)
    init_he(ensemble)
    names = ("generator", "mapping_network", "style_encoder")
    content = {name: {} for name in names}
    for key, tensor in ensemble.state_dict().items():
        name, _, rest = key.partition(".")
        content[name][prefix + rest] = tensor
    return content | extra


def card(name="faces", *, w_hpf=0, **fields):
    network = SMALL | {"w_hpf": w_hpf} | fields.pop("network", {})
    files = fields.pop("files", [])
    texts = {"description": "d", "licence": "l", "source": "s", "image_size": 64, "domains": ["cat", "dog", "wild"]}
    return ModelCard(name=name, family="stargan_v2", network=network, files=files, **texts, **fields)


@pytest.fixture(scope="module")
def wing():
    """The landmark network's file: its state dict with modules that nothing here has."""
    torch.manual_seed(0)
    state = LandmarkNetwork().state_dict()
    further = {"m1.b1_4.conv1.weight": torch.zeros(1), "bl0.weight": torch.zeros(1), "l3.bias": torch.zeros(1)}
    return {"state_dict": state | further, "epoch": 3}


def saved(path, content):
    torch.save(content, path)
    return path


def mean_face(path, shape=(98, 2)):
    np.savez(path, mean=np.full(shape, 120.0))
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("w_hpf", [0, 1])
def test_networks_are_told_by_their_keys_and_shapes(tmp_path, prefix, w_hpf):
    path = saved(tmp_path / "nets.ckpt", networks(w_hpf, prefix))
    loaded = doctor.load(path)
    assert loaded.kind == architecture.STARGAN
    assert loaded.arguments == SMALL | {"w_hpf": w_hpf, "normalize_rgb": 1, "landmarks": 0}
    assert any("module." in note for note in loaded.notes) is bool(prefix)


def test_what_is_allowed_by_name_is_left_out(tmp_path):
    content = networks(1, fan={"conv1.conv.weight": torch.zeros(1)})
    content["generator"]["hpf.filter"] = torch.zeros(3, 3)
    loaded = doctor.load(saved(tmp_path / "nets.ckpt", content))
    assert not any("fan" in key or "hpf" in key for key in loaded.state)
    assert "the network fan was left out" in loaded.notes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: content["generator"].pop("to_rgb.0.weight"), r"lacks 1 tensors \(generator.to_rgb.0.weight\)"),
        (
            lambda content: content["generator"].update({"more": torch.zeros(1)}),
            r"unexpected tensors \(generator.more\)",
        ),
        (lambda content: content.pop("style_encoder"), "part of a StarGAN v2: style_encoder must be in the file too"),
        (lambda content: content["mapping_network"].clear(), "part of a StarGAN v2: mapping_network must be"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, spoil, words):
    content = networks(0)
    spoil(content)
    with pytest.raises(CheckpointError, match=words):
        doctor.load(saved(tmp_path / "nets.ckpt", content))


def test_the_weights_as_they_were_trained_load_without_their_discriminator(tmp_path):
    content = networks(0, discriminator={"main.0.weight": torch.zeros(4, 3, 3, 3)})
    loaded = doctor.load(saved(tmp_path / "100000_nets.ckpt", content))
    assert loaded.kind == architecture.STARGAN
    assert not any("discriminator" in key for key in loaded.state)
    assert any("..._nets_ema.ckpt" in note for note in loaded.notes)


def test_optimizers_alone_are_told(tmp_path):
    optimizer = torch.optim.Adam(LandmarkNetwork().parameters()).state_dict()
    with pytest.raises(CheckpointError, match=r"optimizers alone \(generator, mapping_network\)"):
        doctor.load(saved(tmp_path / "100000_optims.ckpt", {"generator": optimizer, "mapping_network": optimizer}))


def test_a_card_of_another_size_is_told_what_the_file_is(tmp_path):
    path = saved(tmp_path / "nets.ckpt", networks(0))
    with pytest.raises(CheckpointError, match=r"w_hpf 0.*expected .*w_hpf 1"):
        convert(card(w_hpf=1), [path])


def test_three_files_become_one_state_dict(tmp_path, wing):
    files = [
        saved(tmp_path / "nets.ckpt", networks(1, "module.")),
        saved(tmp_path / "wing.ckpt", wing),
        mean_face(tmp_path / "mean.npz"),
    ]
    faces = card(w_hpf=1, network={"landmarks": 1}, align="face", masks="landmarks")
    converted = convert(faces, files)
    weights = tmp_path / "weights.safetensors"
    doctor.save(converted.state, weights)
    assert doctor.load_exactly(weights, architecture.STARGAN, faces.network).arguments["landmarks"] == 1
    assert any("3 tensors of other modules" in note for note in converted.notes)


def test_a_missing_landmark_file_is_told(tmp_path, wing):
    files = [saved(tmp_path / "nets.ckpt", networks(1)), saved(tmp_path / "wing.ckpt", wing)]
    with pytest.raises(CheckpointError, match="its files hold landmarks"):
        convert(card(w_hpf=1, network={"landmarks": 1}), files)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"PK"), lambda path: mean_face(path, (68, 2))])
def test_a_mean_face_that_is_none_is_refused(tmp_path, wing, spoil):
    mean = tmp_path / "mean.npz"
    spoil(mean)
    files = [saved(tmp_path / "nets.ckpt", networks(1)), saved(tmp_path / "wing.ckpt", wing), mean]
    with pytest.raises(CheckpointError, match=r"mean.npz"):
        convert(card(w_hpf=1, network={"landmarks": 1}), files)


def test_fetching_brings_all_files_and_leaves_one(tmp_path, wing):
    served = tmp_path / "upstream"
    served.mkdir()
    saved(served / "nets.ckpt", networks(1))
    saved(served / "wing.ckpt", wing)
    mean_face(served / "mean.npz")

    with file_server(served) as url:
        names = ("nets.ckpt", "wing.ckpt", "mean.npz")
        files = [ModelFile(name=name, url=f"{url}/{name}", format="pytorch") for name in names]
        faces = card(w_hpf=1, network={"landmarks": 1}, files=files)
        path = fetch.fetch(faces, tmp_path / "faces")
    assert doctor.load(path).arguments["landmarks"] == 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".fetch.lock", "lock.json", "weights.safetensors"]
    pinned = fetch.read_lock(path.parent)
    assert set(pinned) == {*names, "weights.safetensors"}
