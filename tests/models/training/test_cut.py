"""Runs of a CUT, small but whole, and what its steps train."""

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.cut.patches import mirrored_places
from models.device import ServingDevice
from models.serving.translator import Translator
from models.store.catalog import Catalog
from models.store.cut_options import CUTOptions
from models.store.options import read_options
from models.store.publication import publish
from models.store.run_status import RunState, read_status
from models.store.samples import read_rows
from models.training.attempt import attempt
from models.training.cut import CUTTrainer
from models.training.distances import structure_kept
from tests.models.training.runs import fingerprint, steps, train_here, write_run
from tests.pictures import landscape
from tests.training import CUT, add_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return add_dataset(tmp_path_factory.mktemp("data"))


AUGMENTED_FAST = {"recipe": "FastCUT", "identity_steps": 3, "augmentations": ["cutout", "translation", "color"]}


def cut_run(path, dataset, **options):
    return write_run(path, CUTOptions(**CUT | {"dataset": dataset, "device": "cpu", "direction": "BtoA"} | options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    """A FastCUT with an identity start, 18 steps. The first domain is blue, and its pictures are what it makes."""
    run = cut_run(tmp_path_factory.mktemp("runs") / "whole", dataset, **AUGMENTED_FAST)
    assert train_here(run) is RunState.SUCCEEDED
    return run


def test_a_run_leaves_metrics_samples_and_a_score(finished):
    records = list(finished.metrics())
    assert [list(record)[2:] for record in (records[0], records[-1])] == [["g_identity"], ["g_adv", "g_nce", "d"]]
    rows = read_rows(finished.sample_path(18))
    assert [(row.label, row.role, row.source) for row in rows] == [
        ("red", "input", None),
        ("red → blue", "output", "red"),
    ]
    status = read_status(finished.path)
    figures = {name for name in status.quality[-1].figures if not name.startswith("Lite0")}
    assert figures == {"score", "distance left to blue"}
    assert set(status.parameters) == {"generator", "heads", "discriminator"}


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(finished, dataset, tmp_path):
    run = cut_run(tmp_path / "run", dataset, **AUGMENTED_FAST)
    stop_at = [7]
    assert (
        attempt(
            run.path,
            on_progress=lambda step, total, losses: None,
            should_stop=lambda: steps(run)[-1:] == stop_at,
        )
        is RunState.STOPPED
    )
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)
    losses, undisturbed = ([record["g_nce"] for record in list(one.metrics())[3:]] for one in (run, finished))
    assert losses == undisturbed


def test_what_is_published_serves_and_starts_another_run(finished, dataset, tmp_path):
    publish(finished, tmp_path / "blue", description="d", licence="l", source="s")
    model = Catalog(tmp_path, tmp_path / "none").get("blue")
    assert (model.card.family, model.card.network) == ("cyclegan", {"ngf": 2, "n_blocks": 1, "antialias": True})
    assert model.card.training["options"]["recipe"] == "FastCUT"
    photo = np.asarray(landscape(48, 32))
    [picture] = Translator(model, ServingDevice("cpu"))([photo])
    assert picture.shape == photo.shape
    again = cut_run(tmp_path / "run", dataset, init_from=tmp_path / "blue" / "weights.safetensors", epochs=0.2)
    assert train_here(again) is RunState.SUCCEEDED


def trainer(**options):
    settings = CUTOptions(**CUT | {"dataset": "none"} | options)
    return CUTTrainer(
        settings, device=CPU, fixed_inputs=(torch.zeros(1, 3, 32, 32),) * 2, constant_steps=9, decay_steps=0
    )


def noise(seed):
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("form", [{}, {"antialias": False, "norm": "batch", "dropout": True, "batch_size": 2}])
def test_a_step_trains_every_network(form):
    made = trainer(**form)
    before = copy.deepcopy(made.networks.state_dict())
    count = form.get("batch_size", 1)
    terms = made.step((noise(0).repeat(count, 1, 1, 1), noise(1).repeat(count, 1, 1, 1)), progress=0)
    assert set(terms) == {"g_adv", "g_nce", "g_nce_identity", "d"}
    after = made.networks.state_dict()
    for name in ("generator.model.1.weight", "heads.mlp_0.0.weight", "discriminator.model.0.weight"):
        assert not torch.equal(before[name], after[name]), name
    assert all(parameter.isfinite().all() for parameter in made.networks.parameters())


def test_half_of_the_steps_of_fastcut_compare_patches_of_a_mirrored_picture_mirrored_back():
    made = trainer(recipe="FastCUT")
    shown, compared = [], []
    made.networks["generator"].model[0].register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
    made.networks["heads"].register_forward_pre_hook(lambda _, inputs: compared.append(inputs[1]))
    source, mirrored = noise(0), 0
    for progress in range(12):
        shown.clear()
        compared.clear()
        made.step((source, noise(1)), progress)
        keys, queries = compared
        same = all(torch.equal(key, query) for key, query in zip(keys, queries, strict=True))
        if not same:
            mirrored += 1
            back = mirrored_places(made.patch_shapes, queries)
            assert all(torch.equal(key, query) for key, query in zip(keys, back, strict=True))
        assert torch.equal(shown[0], source if same else source.flip(3))
    assert 2 < mirrored < 10


def test_the_recipe_says_what_is_not_given():
    fast = CUTOptions(dataset="x", recipe="FastCUT", lambda_nce=5)
    assert (fast.lambda_nce, fast.identity_nce, fast.flip_equivariance) == (5, False, True)
    assert (fast.epochs, fast.epochs_decay) == (150, 50)
    assert read_options(fast.model_dump_json()) == fast
    timed = CUTOptions(dataset="x", recipe="FastCUT", minutes=3)
    assert "epochs" not in timed.model_dump()
    slow = CUTOptions(dataset="x")
    assert (slow.lambda_nce, slow.identity_nce, slow.flip_equivariance, slow.epochs) == (1, True, False, 200)
    with pytest.raises(ValidationError, match="load_size 40 is smaller"):
        CUTOptions(dataset="x", load_size=40)
    with pytest.raises(ValidationError, match="antialias"):
        CUTOptions(dataset="x", balanced_upsampling=True)
    assert CUTOptions(dataset="x", antialias=False, balanced_upsampling=True).balanced_upsampling


def test_structure_is_kept_by_other_colours_and_lost_with_the_places():
    x = torch.nn.functional.interpolate(noise(0)[:, :, :8, :8], size=128, mode="bilinear")
    assert structure_kept(x, 0.5 - 0.3 * x.flip(1).neg()) > 0.8
    assert structure_kept(x, x.flip(3)) < 0.3
