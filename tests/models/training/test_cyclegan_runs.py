"""Runs of a CycleGAN, small but whole: what they leave, how they end, and how they go on."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from models import pixels
from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.errors import PublicationError
from models.serving.translator import Translator
from models.store.catalog import Catalog
from models.store.publication import publish
from models.store.run_folder import RunFolder
from models.store.run_status import RunState, read_status
from models.store.samples import read_rows
from models.training import cpu_layers
from models.training.attempt import attempt
from models.training.checkpoints import load_state
from models.training.cyclegan import CycleGANTrainer
from models.training.data import UnpairedPictures
from models.training.launch import STOP_TIMEOUT_S
from models.weights import doctor
from tests.forks import training
from tests.models.training.cyclegan_runs import make_run, red_and_blue
from tests.models.training.runs import fingerprint, kill_after, steps, train, train_here
from tests.pictures import landscape
from tests.processes import eventually
from tests.training import ENDLESS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return red_and_blue(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, dataset):
    """A run that nobody disturbed, 18 steps, and the answer of its process, which lists what it imported."""
    run = make_run(tmp_path_factory.mktemp("runs") / "whole", dataset)
    command = [sys.executable, "-X", "importtime", "-m", "models.training", str(run.path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return run, answer


@pytest.fixture(scope="module")
def finished(undisturbed):
    """The run alone."""
    return undisturbed[0]


def test_a_training_loads_no_compiler(undisturbed):
    imported = undisturbed[1].stderr
    assert "torch.optim.adam" in imported
    assert "torch._dynamo" not in imported


def test_a_run_leaves_metrics_samples_and_its_last_checkpoints(finished):
    assert steps(finished) == list(range(1, 19))
    first = json.loads(finished.metrics_file.read_text().splitlines()[0])
    losses = ["g_ab_adv", "g_ba_adv", "cycle_aba", "cycle_bab", "g_ab_identity", "g_ba_identity", "d_b", "d_a"]
    assert list(first) == ["step", "seconds", *losses]
    assert sorted(path.name for path in (finished.path / "samples").iterdir()) == [
        f"{step}.{kind}" for step in ("000006", "000012", "000018") for kind in ("json", "png")
    ]
    rows = read_rows(finished.sample_path(18))
    assert [(row.label, row.role, row.source) for row in rows] == [
        ("A", "input", None),
        ("A → B", "output", "A"),
        ("A → B → A", "cycle", "A"),
        ("B", "input", None),
        ("B → A", "output", "B"),
        ("B → A → B", "cycle", "B"),
    ]
    with (
        Image.open(finished.sample_path(18)) as sheet,
        Image.open(finished.options().dataset / "trainA/0.png") as first,
    ):
        assert sheet.size == (4 * 34 + 2, 6 * 34 + 2)
        expected = first.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        assert np.array_equal(sheet.crop(rows[0].cells[0]), expected)
        assert rows[0].cells[0] == (2, 2, 34, 34)
    assert [path.name for path in finished.checkpoints()] == ["000015.pt", "000018.pt"]


def test_a_run_killed_at_any_time_and_resumed_ends_with_the_same_weights(finished, tmp_path, dataset):
    run = make_run(tmp_path / "killed", dataset)
    kill_after(run, 7)
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)
    assert steps(run) == list(range(1, 19))
    trained_s = [record["seconds"] for record in run.metrics()]
    assert trained_s == sorted(trained_s)


def test_a_run_of_another_form_resumes_exactly_and_is_served_as_its_card_says(tmp_path, dataset):
    form = {"norm": "batch", "dropout": True, "padding": "replicate"}
    whole, halved = (make_run(tmp_path / name, dataset, **form) for name in ("whole", "halved"))
    assert train_here(whole) is RunState.SUCCEEDED
    seen = iter(range(8))
    attempt(halved.path, on_progress=lambda *_: None, should_stop=lambda: next(seen, None) is None)
    assert len(steps(halved)) < 18
    assert train_here(halved) is RunState.SUCCEEDED
    assert fingerprint(halved) == fingerprint(whole)

    card = publish(whole, tmp_path / "models" / "formed", direction="AtoB", description="d", licence="l", source="s")
    assert card.network == {"ngf": 2, "n_blocks": 1} | form
    picture = np.asarray(landscape(64, 48))
    translate = Translator(Catalog(tmp_path / "none", tmp_path).get("formed"), ServingDevice("cpu"))
    once, again = translate([picture])[0], translate([picture])[0]
    assert np.array_equal(once, again), "dropout is for training"
    network = ResnetGenerator(**card.network)
    network.load_state_dict(load_state(whole.checkpoints()[-1])["trainer"]["g_ab"])
    with torch.inference_mode():
        expected = pixels.to_pictures(network.eval()(pixels.to_tensor([picture])))[0]
    assert np.abs(once.astype(int) - expected).max() <= 1


def test_a_run_that_is_wide_enough_for_the_convolutions_of_a_cpu_resumes_exactly(tmp_path, dataset, monkeypatch):
    """They take 96 channels and, in a batch together, 1024 px, of a quarter of the pictures' size."""
    computed = []

    def counted(x, weight, winograd=cpu_layers.winograd):
        computed.append(x.shape)
        return winograd(x, weight)

    monkeypatch.setattr(cpu_layers, "winograd", counted)
    wide = {"ngf": 24, "image_size": 96, "load_size": 100, "batch_size": 2, "quality_pictures": 1}
    length = {"epochs": 1, "epochs_decay": 0, "sample_every": 10}  # 3 steps
    whole, halved = (make_run(tmp_path / name, dataset, **wide, **length) for name in ("whole", "halved"))
    assert train_here(whole) is RunState.SUCCEEDED
    assert len(computed) >= 3 * 8  # in each step by both of them in each of two passes of two generators
    seen = iter(range(1))
    attempt(halved.path, on_progress=lambda *_: None, should_stop=lambda: next(seen, None) is None)
    assert 0 < len(steps(halved)) < 3
    assert train_here(halved) is RunState.SUCCEEDED
    assert fingerprint(halved) == fingerprint(whole)


def test_weights_that_are_not_finite_are_not_published(finished, tmp_path):
    run = RunFolder(shutil.copytree(finished.path, tmp_path / "run"))
    export = run.export_path(18) / "AtoB.safetensors"
    state = doctor.load(export).state
    state["model.1.bias"][0] = float("inf")
    doctor.save(state, export)
    with pytest.raises(PublicationError, match="The weights of step 18 hold NaN or infinity"):
        publish(run, tmp_path / "broken", direction="AtoB", description="d", licence="l", source="s")
    assert not (tmp_path / "broken" / "weights.safetensors").exists()


def test_a_run_stopped_by_a_signal_saves_at_that_step_and_resumes(finished, tmp_path, dataset):
    run = make_run(tmp_path / "stopped", dataset, save_every=1000)
    with training(run) as stopped:
        eventually(lambda: (status := read_status(run.path)) and status.total_steps, every_s=0.005)
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(timeout=120) == 0
    assert len(run.checkpoints()) == 1
    assert steps(run)[-1] == load_state(run.checkpoints()[0])["step"]
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)


def test_a_run_whose_losses_are_read_one_step_later_is_the_same(finished, tmp_path, dataset, monkeypatch):
    """As on a GPU, which computes the next step meanwhile."""
    monkeypatch.setattr("models.training.loop.steps_ahead", lambda device: 1)
    run = make_run(tmp_path / "ahead", dataset)
    seen = []
    attempt(run.path, on_progress=lambda step, *_: seen.append(step), should_stop=lambda: len(seen) >= 7)
    assert seen == list(range(1, 9))  # one more was launched
    assert load_state(run.checkpoints()[-1])["step"] == 8
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)
    assert [row | {"seconds": 0} for row in run.metrics()] == [row | {"seconds": 0} for row in finished.metrics()]


def test_pictures_read_ahead_by_other_processes_are_the_same(finished, tmp_path, dataset):
    run = make_run(tmp_path / "ahead", dataset, loader_processes=2)
    kill_after(run, 7)
    assert train(run)[0] == 0
    assert fingerprint(run) == fingerprint(finished)
    assert steps(run) == list(range(1, 19))


def test_a_signal_to_the_whole_group_ends_a_run_with_a_checkpoint(tmp_path, dataset):
    run = make_run(tmp_path / "run", dataset, loader_processes=2, **ENDLESS)
    with training(run) as leader:
        eventually(lambda: len(steps(run)) > 3)
        os.killpg(leader.pid, signal.SIGTERM)
        assert leader.wait(timeout=120) == 0
    status = read_status(run.path)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)


@pytest.mark.parametrize("loader_processes", [0, 2])
def test_a_run_whose_pictures_turn_out_to_be_damaged_says_so(tmp_path, dataset, loader_processes):
    pictures = shutil.copytree(dataset, tmp_path / "pictures")
    shutil.copytree(pictures / "trainA", pictures / "testA")
    for picture in (pictures / "trainA").iterdir():
        picture.write_bytes(picture.read_bytes()[:200])  # the header is sound
    run = make_run(tmp_path / "run", pictures, loader_processes=loader_processes, epochs=3)
    assert train(run, within_s=STOP_TIMEOUT_S)[0] == 2  # sooner than reading processes that linger
    status = read_status(run.path)
    assert status.status is RunState.FAILED
    assert status.error.startswith("None of the pictures in trainA can be read. trainA/")
    assert "Traceback" not in status.error


def test_another_seed_gives_other_weights(finished, tmp_path, dataset):
    run = make_run(tmp_path / "other", dataset, seed=1)
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) != fingerprint(finished)


def test_fine_tuning_starts_from_the_other_run(finished, tmp_path, dataset):
    run = make_run(tmp_path / "tuned", dataset, init_from=finished.checkpoints()[-1])
    options = run.options()
    data = UnpairedPictures(dataset, load_size=36, image_size=32, seed=0)
    trainer = CycleGANTrainer(
        options, device=torch.device("cpu"), fixed_inputs=data.fixed_inputs(1), constant_steps=1, decay_steps=0
    )
    trainer.start_from(load_state(options.init_from)["trainer"])
    expected = load_state(finished.checkpoints()[-1])["trainer"]["g_ab"]
    assert all(torch.equal(tensor, expected[key]) for key, tensor in trainer.g_ab.state_dict().items())


def test_a_published_model_tells_how_it_was_trained_but_not_where(finished, tmp_path):
    card = publish(finished, tmp_path / "demo", direction="BtoA", description="d", licence="l", source="s")
    assert card.training["steps"] == 18
    assert card.training["options"]["ngf"] == 2
    assert not {"dataset", "device", "reserved_mb", "loader_processes"}.intersection(card.training["options"])
    assert str(finished.options().dataset) not in (tmp_path / "demo" / "model.json").read_text()
