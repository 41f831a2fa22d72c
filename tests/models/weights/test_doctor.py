"""Weights files: what is accepted, and what the refusal says of the rest."""

import argparse
import collections
import os
import resource

import numpy as np
import pytest
import torch

from app import cli
from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.errors import CheckpointError
from models.store.files import is_full
from models.weights import doctor
from models.weights.architecture import CYCLEGAN
from tests.archives import zipped

SMALL = {"ngf": 4, "n_blocks": 2}
PLAIN = {"norm": "instance", "dropout": False, "padding": "reflect", "antialias": False}


def generator_state(seed=0, **form):
    torch.manual_seed(seed)
    return ResnetGenerator(**SMALL, **form).state_dict()


def legacy(state):
    """As old PyTorch saved it: with InstanceNorm statistics that nothing uses."""
    norms = ("model.2", "model.5", "model.10.conv_block.2", "model.10.conv_block.6")
    return state | {f"{norm}.running_{name}": torch.ones(4) for norm in norms for name in ("mean", "var")}


def saved(tmp_path, content, name="file.pth"):
    path = tmp_path / name
    torch.save(content, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module.", "netG.module."])
@pytest.mark.parametrize("nested", [False, True])
def test_a_generator_is_told_by_its_keys_and_shapes(tmp_path, prefix, nested):
    state = {prefix + key: tensor for key, tensor in generator_state().items()}
    loaded = doctor.load(saved(tmp_path, {"state_dict": state} if nested else state))
    assert loaded.kind == "cyclegan generator"
    assert loaded.arguments == SMALL | PLAIN
    assert all(torch.equal(loaded.state[key], tensor) for key, tensor in generator_state().items())
    assert any("found under" in note for note in loaded.notes) is bool(prefix or nested)


def test_legacy_statistics_are_dropped_and_reported(tmp_path):
    loaded = doctor.load(saved(tmp_path, legacy(generator_state())))
    assert loaded.state.keys() == generator_state().keys()
    assert "statistics" in loaded.notes[0]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_form_of_a_generator_is_read_off_its_keys(tmp_path, norm, dropout, padding, antialias):
    form = {"norm": norm, "dropout": dropout, "padding": padding, "antialias": antialias}
    loaded = doctor.load(saved(tmp_path, generator_state(**form)))
    assert loaded.arguments == SMALL | form
    ResnetGenerator(**loaded.arguments).load_state_dict(loaded.state)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_form_of_cuts_discriminator_is_read_off_its_keys(tmp_path, norm):
    loaded = doctor.load(saved(tmp_path, PatchDiscriminator(4, 2, norm, antialias=True).state_dict()))
    assert loaded.kind == "cyclegan discriminator"
    assert loaded.arguments == {"ndf": 4, "n_layers": 2, "antialias": True} | (
        {"norm": norm} if norm == "batch" else {}
    )


def test_replication_is_what_the_card_says_since_the_keys_do_not(tmp_path):
    path = saved(tmp_path, generator_state(padding="replicate"))
    assert doctor.load_exactly(path, CYCLEGAN, SMALL | {"padding": "replicate"}).arguments["padding"] == "replicate"
    assert doctor.load_exactly(path, CYCLEGAN, SMALL).arguments["padding"] == "reflect"
    with pytest.raises(CheckpointError, match="expected a cyclegan generator with ngf 4, n_blocks 2, padding zero"):
        doctor.load_exactly(path, CYCLEGAN, SMALL | {"padding": "zero"})


def test_batch_normalisation_of_old_pytorch_had_no_counters(tmp_path):
    state = generator_state(norm="batch")
    old = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    loaded = doctor.load(saved(tmp_path, old))
    assert loaded.state.keys() == state.keys()
    assert "were set to 0" in loaded.notes[0]


def test_a_discriminator_is_told_apart(tmp_path):
    loaded = doctor.load(saved(tmp_path, PatchDiscriminator(ndf=8).state_dict()))
    assert (loaded.kind, loaded.arguments) == ("cyclegan discriminator", {"ndf": 8, "n_layers": 3})


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "weights.safetensors"
    doctor.save({key: tensor.half() for key, tensor in generator_state().items()}, path)
    loaded = doctor.load(path)
    assert loaded.state["model.1.weight"].dtype is torch.float16
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def without(state, key):
    return {name: tensor for name, tensor in state.items() if name != key}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (without(generator_state(), "model.1.bias"), r"lacks 1 tensors \(model.1.bias\)"),
        (generator_state() | {"model.99.weight": torch.zeros(1)}, r"1 unexpected tensors \(model.99.weight\)"),
        (generator_state() | {"model.4.bias": torch.zeros(3)}, r"model.4.bias of shape \(3,\) instead of \(8,\)"),
        ({"fc.weight": torch.zeros(2, 2)}, "of an unknown network; expected a CycleGAN"),
        ({"step": 3}, "not a state dict"),
        ([1, 2, 3], "holds a list"),
        ({}, "not a state dict"),
        (torch.zeros(3), "holds a Tensor"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words):
        doctor.load(saved(tmp_path, content))


def test_another_size_than_the_card_says_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"ngf 4, n_blocks 2; expected .* ngf 64, n_blocks 9"):
        doctor.load_exactly(saved(tmp_path, generator_state()), CYCLEGAN, {"ngf": 64, "n_blocks": 9})


class Hostile:
    """A pickle of it runs a program when it is loaded carelessly."""

    def __reduce__(self):
        return os.system, ("touch /tmp/doppel-was-hacked",)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path):
    path = saved(tmp_path, {"model.1.weight": Hostile()})
    with pytest.raises(CheckpointError, match=r"would call posix\.system; refused"):
        doctor.load(path)
    assert not os.path.exists("/tmp/doppel-was-hacked")


def test_a_pickle_of_any_other_class_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="refused"):
        doctor.load(saved(tmp_path, {"queue": collections.deque([Hostile])}))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_another_pickle_protocol_is_told(tmp_path):
    path = tmp_path / "file.pth"
    torch.save(generator_state(), path, pickle_protocol=4)
    with pytest.raises(CheckpointError, match="another pickle protocol"):
        doctor.load(path)


def test_a_whole_network_is_told_from_its_state_dict(tmp_path):
    with pytest.raises(CheckpointError, match=r"ResnetGenerator; refused.*save network.state_dict\(\)"):
        doctor.load(saved(tmp_path, ResnetGenerator(**SMALL)))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.99])
def test_a_file_cut_short_is_refused_as_such(tmp_path, share):
    path = saved(tmp_path, generator_state())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match="truncated"):
        doctor.load(path)


def test_a_cut_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    doctor.save(generator_state(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        doctor.load(path)


@pytest.fixture
def several(tmp_path):
    """What a training script saves: all networks, optimizers, and objects of classes that are not loaded."""
    optimizer = torch.optim.Adam(ResnetGenerator(**SMALL).parameters())
    content = {
        "netG_A": generator_state(1),
        "netG_B": generator_state(2, dropout=True),
        "netD_A": PatchDiscriminator(ndf=8).state_dict(),
        "optimizer_G": optimizer.state_dict(),
        "opt": argparse.Namespace(lr=0.1),
        "best": np.float64(3),
        "epoch": 3,
    }
    return saved(tmp_path, content, "last.ckpt")


def test_one_network_of_several_is_taken_by_name(several):
    for name, seed, form in (("netG_A", 1, {}), ("netG_B", 2, {"dropout": True})):
        loaded = doctor.load(several, network=name)
        assert loaded.arguments == SMALL | PLAIN | form
        assert torch.equal(loaded.state["model.1.weight"], generator_state(seed, **form)["model.1.weight"])
    assert doctor.load(several, network="netD_A").kind == "cyclegan discriminator"
    with pytest.raises(CheckpointError, match=r"several networks: netG_A \(cyclegan generator\); netG_B .*netD_A"):
        doctor.load(several)
    with pytest.raises(CheckpointError, match=r"no network 'netG'; it holds netG_A"):
        doctor.load(several, network="netG")


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        ({f"generator.{key}": tensor for key, tensor in generator_state().items()}, None),
        ({key.removeprefix("model."): tensor for key, tensor in generator_state().items()}, None),
        ({"netG": generator_state(), "netD": PatchDiscriminator(ndf=8).state_dict(), "step": torch.tensor(3)}, "netD"),
        (
            {
                "state_dict": {
                    **{f"gen.net.{key}": tensor for key, tensor in generator_state().items()},
                    **{f"dis.{key}": tensor for key, tensor in PatchDiscriminator(ndf=8).state_dict().items()},
                    "perceptual.features.0.weight": torch.zeros(2),
                },
                "hyper_parameters": {"lr": 0.1},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(4)}}, "param_groups": []}],
            },
            "dis, perceptual",
        ),
    ],
)
def test_the_only_generator_of_a_file_is_taken(tmp_path, content, left_out):
    loaded = doctor.load(saved(tmp_path, content))
    assert loaded.arguments == SMALL | PLAIN
    assert all(torch.equal(loaded.state[key], tensor) for key, tensor in generator_state().items())
    assert (f"left out of the file: {left_out}" in loaded.notes) is bool(left_out)


def u_net(num_downs, ngf=4):
    """The keys of pix2pix's generator, outermost first."""
    keys = {"model.model.0.weight": (ngf, 3, 4, 4), "model.model.3.weight": (2 * ngf, 3, 4, 4)}
    inside = "model.model.1"
    for _ in range(num_downs - 1):
        keys |= {f"{inside}.model.1.weight": (ngf, ngf, 4, 4), f"{inside}.model.2.weight": (ngf,)}
        inside += ".model.3"
    return {key: torch.zeros(shape) for key, shape in keys.items()}


def of_channels(count):
    return generator_state() | {"model.1.weight": torch.zeros(4, count, 7, 7)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (u_net(7), r"U-Net generator \(num_downs 7, ngf 4\)"),
        ({"model.0.weight": torch.zeros(8, 6, 4, 4), "model.0.bias": torch.zeros(8)}, "discriminator of 6 channels"),
        ({"net.0.weight": torch.zeros(8, 3, 1, 1), "net.2.weight": torch.zeros(8)}, "discriminator of single pixels"),
        (generator_state() | {"model.8.filt": torch.zeros(4, 1, 3, 3)}, "CUT's generator that blurs only where it ha"),
        ({"mlp_0.0.weight": torch.zeros(4, 3), "mlp_0.2.weight": torch.zeros(4, 4)}, "CUT's projection network"),
        (of_channels(1), "takes 1 channels and gives 3"),
        ({key.replace("model.1", "model.2"): t for key, t in generator_state().items()}, "unknown network"),
    ],
)
def test_networks_that_do_not_run_here_are_named(tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words):
        doctor.load(saved(tmp_path, content))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 45575747\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (POINTER, "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><head><title>Quota exceeded</title>", "a web page with the title 'Quota exceeded'"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'{"error": "not found"}', "a JSON document"),
        (b"\x08\x07\x12\x07pytorch\x1a\x051.9.0", "an ONNX model"),
        (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file"),
        (bytes(4096), "nothing but zeros"),
        (zipped({"latest_net_G_A.pth": b"PK"}), r"a zip archive that holds latest_net_G_A.pth; unpack it"),
        (zipped({"a/constants.pkl": b"", "a/code/x.py": b"", "a/data.pkl": b""}), "a TorchScript program"),
        (b"\x80\x02}q\0.", "not a PyTorch weights file"),
        (b"\xfe\xed\xfa\xce" * 9, "of no format that Doppel knows"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path, data, words):
    path = tmp_path / "latest_net_G_A.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=words):
        doctor.load(path)


def test_the_format_is_told_by_the_content_and_not_by_the_suffix(tmp_path):
    state = generator_state()
    safetensors, pytorch = tmp_path / "a.pth", tmp_path / "b.safetensors"
    doctor.save(state, safetensors)
    torch.save(state, pytorch, _use_new_zipfile_serialization=False)
    for path in (safetensors, pytorch):
        loaded = doctor.load(path)
        assert all(torch.equal(loaded.state[key], tensor) for key, tensor in state.items())
        assert "in spite of its suffix" in loaded.notes[0]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.tensor([1.0, float("nan"), 0, 0]), r"not finite .* in 1 of 20 tensors \(model.1.bias\)"),
        (torch.tensor([1.0, float("-inf"), 0, 0]).half(), "not finite"),
        (torch.zeros(4, dtype=torch.int8), "model.1.bias as int8"),
        (torch.zeros(4, dtype=torch.complex64), "as complex64"),
    ],
)
def test_numbers_that_no_picture_can_be_made_of_are_refused(tmp_path, tensor, words):
    with pytest.raises(CheckpointError, match=words):
        doctor.load(saved(tmp_path, generator_state() | {"model.1.bias": tensor}))


def checked(capsys, *arguments):
    """Exit status and output of ``doppel check``."""
    status = cli.main(["check", *map(str, arguments)])
    return status, "".join(capsys.readouterr())


def test_the_check_command_says_what_a_file_is_and_how_to_add_it(tmp_path, capsys):
    path = saved(tmp_path, legacy(generator_state()))
    status, output = checked(capsys, path)
    assert status == 0
    assert "cyclegan generator, ngf 4, n_blocks 2" in output
    assert "sha256" in output
    assert "statistics of old PyTorch were dropped" in output
    assert output.splitlines()[-1] == f"put it into service: doppel add {path} --name NAME"


def test_the_check_command_lists_what_a_file_holds(several, capsys):
    status, output = checked(capsys, several)
    assert status == 0
    assert "netG_B: cyclegan generator, ngf 4, n_blocks 2, dropout True; loads" in output
    assert "netD_A: cyclegan discriminator" in output
    assert "optimizer_G" in output
    assert f"doppel add {several} --name NAME --network netG_B" in output
    status, output = checked(capsys, several, "--network=netD_A")
    assert (status, "it makes no pictures" in output, "doppel add" in output) == (0, True, False)


def test_the_check_command_refuses_in_one_line(tmp_path, capsys):
    assert cli.main(["check", str(saved(tmp_path, [1]))]) == 1
    printed = capsys.readouterr().err
    assert (printed.startswith("refused: "), printed.count("\n")) == (True, 1)


def test_weights_that_find_no_room_are_an_error_of_the_system_and_leave_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.safetensors could not be written") as raised:
            doctor.save({"a": torch.zeros(1000)}, tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert is_full(raised.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        doctor.save({"a": torch.zeros(1)}, tmp_path / "missing" / "a.safetensors")
