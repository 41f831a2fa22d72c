"""Weights files: what is accepted, and what the refusal says of the rest."""

import collections
import os
import subprocess
import sys

import pytest
import torch

from models.cyclegan import PatchDiscriminator, ResnetGenerator
from models.errors import CheckpointError
from models.weights import doctor
from models.weights.architecture import CYCLEGAN

SMALL = {"ngf": 4, "n_blocks": 2}


def generator_state():
    torch.manual_seed(0)
    return ResnetGenerator(**SMALL).state_dict()


def legacy(state):
    """As old PyTorch saved it: with InstanceNorm statistics that nothing uses."""
    extended = dict(state)
    for key in state:
        if key.endswith(".weight") and key != "model.1.weight":
            norm = key.removesuffix("weight")
            extended |= {f"{norm}running_mean": torch.zeros(4), f"{norm}running_var": torch.ones(4)}
    return extended


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
    assert loaded.arguments == SMALL
    assert all(torch.equal(loaded.state[key], tensor) for key, tensor in generator_state().items())
    assert any("prefix" in note for note in loaded.notes) is bool(prefix)


def test_legacy_statistics_are_dropped_and_reported(tmp_path):
    loaded = doctor.load(saved(tmp_path, legacy(generator_state())))
    assert loaded.state.keys() == generator_state().keys()
    assert "statistics" in loaded.notes[0]


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


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
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


def check(path):
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "check", str(path)], capture_output=True, text=True, check=False
    )


def test_the_check_command_says_what_a_file_is(tmp_path):
    answer = check(saved(tmp_path, legacy(generator_state())))
    assert answer.returncode == 0
    assert "cyclegan generator, ngf 4, n_blocks 2" in answer.stdout
    assert "sha256" in answer.stdout
    assert "statistics of old PyTorch were dropped" in answer.stdout


def test_the_check_command_refuses_in_one_line(tmp_path):
    answer = check(saved(tmp_path, [1]))
    assert answer.returncode == 1
    assert answer.stderr.startswith("refused: ")
    assert "Traceback" not in answer.stderr
