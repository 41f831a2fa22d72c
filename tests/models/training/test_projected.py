"""Training by the features of a network that knows pictures: what is seen, the content, the judges, and whole runs."""

import pytest
import torch
from torch.nn import functional

from models.cyclegan.losses import content_distance
from models.errors import NotInstalled
from models.store.catalog import Catalog
from models.store.options import CycleGANOptions
from models.store.publication import publish
from models.store.run_status import RunState
from models.training import feature_network
from models.training.attempt import attempt
from models.training.checkpoints import load_state
from models.training.cyclegan import CycleGANTrainer
from models.training.feature_network import CHANNELS, FeatureNetwork
from models.training.projected import ProjectedDiscriminator
from tests.models.training.cyclegan_runs import make_run, red_and_blue
from tests.models.training.runs import fingerprint, train_here

ONE_SIDED = {
    "discriminator": "projected",
    "lambda_content": 2.0,
    "lambda_a": 0.0,
    "lambda_b": 0.0,
    "ema_beta": 0.5,
    "augmentations": ["color", "translation", "cutout"],
    "epochs": 1,
    "epochs_decay": 0,
    "save_every": 3,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return red_and_blue(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    run = make_run(tmp_path_factory.mktemp("runs") / "whole", dataset, **ONE_SIDED)
    assert train_here(run) is RunState.SUCCEEDED
    return run


def _plain(weights, x):
    """EfficientNet-Lite0 as the released weights name its parts, with each normalisation after its convolution."""

    def layer(y, convolution, norm, stride=1, groups=1):
        kernel = weights[f"{convolution}.weight"]
        side, size = y.shape[2], kernel.shape[2]
        total = max(0, (-(-side // stride) - 1) * stride + size - side)  # TensorFlow's "same"
        padded = functional.pad(y, (total // 2, total - total // 2) * 2)
        y = functional.conv2d(padded, kernel, stride=stride, groups=groups)
        statistics = (weights[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(y, *statistics, eps=1e-3)

    y = functional.relu6(layer(x, "_conv_stem", "_bn0", 2))
    halved, scales = {1, 3, 5, 11}, []
    for n in range(16):
        block, before = f"_blocks.{n}", y
        if n:
            y = functional.relu6(layer(y, f"{block}._expand_conv", f"{block}._bn0"))
        y = functional.relu6(layer(y, f"{block}._depthwise_conv", f"{block}._bn1", 2 if n in halved else 1, y.shape[1]))
        y = layer(y, f"{block}._project_conv", f"{block}._bn2")
        if before.shape == y.shape:
            y = before + y
        if n in {2, 4, 10, 15}:
            scales.append(y)
    return scales, functional.relu6(layer(y, "_conv_head", "_bn1")).mean(dim=(2, 3))


@pytest.mark.parametrize("side", [64, 36])
def test_the_network_sees_what_the_released_weights_say(side):
    torch.manual_seed(0)
    network, x = FeatureNetwork(), torch.rand(2, 3, side, side) * 2 - 1
    weights = torch.load(feature_network.weights_file(), weights_only=True)
    expected, vector = _plain(weights, x)
    found = network(x)
    sides = [-(-side // stride) for stride in (4, 8, 16, 32)]
    assert [(one.shape[1], one.shape[2]) for one in found] == list(zip(CHANNELS, sides, strict=True))
    for one, right in zip(found, expected, strict=True):
        torch.testing.assert_close(one, right, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(network.embedding(found), vector, rtol=1e-3, atol=1e-3)


def test_content_is_the_angle_between_features_but_for_the_finest():
    x = [torch.ones(1, 2, 2, 2), torch.tensor([3.0, 0]).view(1, 2, 1, 1), torch.tensor([1.0, 0]).view(1, 2, 1, 1)]
    y = [-x[0], torch.tensor([0, 0.5]).view(1, 2, 1, 1), 7 * x[2]]
    assert content_distance(x, y).item() == pytest.approx((2 + 0) / 2)  # a right angle: 1² + 1²; and none


def test_judges_learn_and_projections_stay_as_they_were_drawn(finished):
    first, last = (load_state(path)["trainer"]["d_a"] for path in finished.checkpoints())
    changed = {key for key in first if not torch.equal(first[key], last[key])}
    assert changed
    assert all(key.startswith("judges.") for key in changed)
    network = ProjectedDiscriminator().requires_grad_(True)
    trained = {name.partition(".")[0] for name, weight in network.named_parameters() if weight.requires_grad}
    assert trained == {"judges"}


def test_without_cycles_their_losses_are_not_computed_and_averages_are_published(finished, tmp_path):
    [*_, last] = finished.metrics()
    losses = {"g_ab_adv", "g_ba_adv", "g_ab_content", "g_ba_content", "d_a", "d_b"}
    assert set(last) == {"step", "seconds"} | losses
    state = load_state(finished.checkpoints()[-1])["trainer"]
    publish(finished, tmp_path / "models" / "m", direction="AtoB", description="d", licence="l", source="s")
    weights = Catalog(tmp_path / "none", tmp_path).get("m").weights
    from safetensors.torch import load_file

    key = "model.1.weight"
    assert torch.equal(load_file(weights)[key], state["averages"][f"g_ab.{key}"].half())
    assert not torch.equal(state["averages"][f"g_ab.{key}"], state["g_ab"][key])


def test_an_average_moves_by_its_share_at_each_step(dataset):
    options = CycleGANOptions(dataset=dataset, ngf=2, ndf=2, n_blocks=1, image_size=32, load_size=36, ema_beta=0.75)
    x = torch.rand(1, 3, 32, 32)
    trainer = CycleGANTrainer(options, device=torch.device("cpu"), fixed_inputs=(x, x), constant_steps=9, decay_steps=0)
    weight, average = (networks["g_ab"].model[1].weight for networks in (trainer.networks, trainer.averages))
    expected = weight.detach().clone()
    for step in range(3):
        trainer.step((x, 1 - x), progress=step)
        expected = 0.75 * expected + 0.25 * weight.detach()
    torch.testing.assert_close(average, expected)


def test_a_run_by_features_resumes_exactly(finished, tmp_path, dataset):
    run = make_run(tmp_path / "stopped", dataset, **ONE_SIDED)
    done = []
    attempt(run.path, on_progress=lambda step, *_: done.append(step), should_stop=lambda: len(done) == 2)
    assert done == [1, 2]
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)


def test_both_generators_may_start_from_weights(finished, tmp_path, dataset):
    exported = finished.path / "exports" / "000006"
    start = {"init_from": exported / "BtoA.safetensors", "init_direction": "BtoA"}
    back = {"init_back_from": exported / "AtoB.safetensors"}
    options = CycleGANOptions.model_validate_json((finished.path / "options.json").read_text())
    options = options.model_copy(update=start | back)
    x = torch.zeros(1, 3, 32, 32)
    trainer = CycleGANTrainer(options, device=torch.device("cpu"), fixed_inputs=(x, x), constant_steps=9, decay_steps=0)
    trainer.start_from_weights(options.init_from)
    state = load_state(finished.checkpoints()[-1])["trainer"]["averages"]
    for networks in (trainer.networks, trainer.averages):
        for name in ("g_ab", "g_ba"):
            assert torch.equal(networks[name].model[1].weight.half(), state[f"{name}.model.1.weight"].half())


def test_a_run_without_the_package_says_what_to_install(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(feature_network, "PACKAGE", "package_that_nobody_has")
    run = make_run(tmp_path / "run", dataset, **ONE_SIDED)
    with pytest.raises(NotInstalled, match=r"doppel\[features\]"):
        train_here(run)
