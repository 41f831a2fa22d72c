"""Quality on held-out pictures, with networks whose weights are made up: what is held to is how figures relate."""

import numpy as np
import pytest
import torch
from PIL import Image

from models.store.options import CycleGANOptions, StarGANOptions
from models.store.run_status import Quality, RunState, best_measured, read_status
from models.training import feature_network
from models.training.cyclegan import CycleGANTrainer
from models.training.data import UnpairedPictures
from models.training.distances import ALEXNET_FILE, INCEPTION_FILE, frechet_distance
from models.training.evaluation import Evaluation, quality
from models.training.loader import batches
from tests.models.training.runs import train_here, write_run
from tests.training import CYCLEGAN, add_dataset

DOMAINS = ("cat", "dog")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A folder as torch keeps one, with both networks' weights."""
    import torchvision  # here, because both load slowly, and every process that runs tests reads this file
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet().state_dict()
    for key in [key for key in alexnet if key.startswith("classifier")]:
        alexnet[key] = torch.zeros(1).expand(alexnet[key].shape)  # not used here, and 220 MB
    torch.save(alexnet, folder / ALEXNET_FILE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patched.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        inception = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for layer in inception.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)  # what comes out is as large as what goes in
    torch.save(inception.state_dict(), folder / INCEPTION_FILE)
    return home


@pytest.fixture(scope="module")
def at_hand(networks):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TORCH_HOME", str(networks))
        yield


@pytest.fixture
def not_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(feature_network, "PACKAGE", "package_that_nobody_has")


@pytest.fixture
def features_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def noise(count, seed):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def perfect():
    """Cycles that lose nothing, pictures like real ones, and styles that change nothing."""
    x_cat, x_dog = noise(2, 0), noise(2, 1)
    return Evaluation(
        real=[x_cat, x_dog],
        cycled=[x_cat, x_dog],
        generated=[x_cat, x_dog],
        variants={"latent": lambda: (x[None].expand(3, -1, -1, -1) for x in x_cat)},
    )


def poor():
    """Cats that come back as others, cats without contrast, and styles that change everything."""
    x_cat, x_dog = noise(2, 0), noise(2, 1)
    return Evaluation(
        real=[x_cat, x_dog],
        cycled=[x_cat.flip(0), x_dog],
        generated=[x_cat * 0.1, x_dog],
        variants={"latent": lambda: iter([x_cat, x_dog])},
    )


@pytest.fixture(scope="module")
def good(at_hand):
    return quality(perfect(), 5, DOMAINS, CPU)


def test_what_loses_nothing_has_no_distance(good):
    assert good.step == 5
    assert good.not_available == {}
    for name in ("cycle error", "cycle error of cat", "cycle LPIPS of dog", "LPIPS between latent styles"):
        assert good.figures[name] == 0
    assert good.figures["FID of cat"] == pytest.approx(0, abs=1e-2)
    assert good.figures.keys() >= {"FID of dog", "KID of cat", "KID of dog"}


@pytest.mark.parametrize(("counts", "features"), [((5, 3), 8), ((30, 20), 8)])
def test_the_frechet_distance_is_that_of_the_covariances(counts, features):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = (
        torch.randn(count, features, generator=torch.Generator().manual_seed(count)) + 1 / count for count in counts
    )
    statistics = [fid_features_to_statistics(rows.double()) for rows in (x, y)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_each_figure_tells_of_its_own_domain_and_draws_no_random_numbers_from_the_run(good):
    torch.manual_seed(1)
    undisturbed = torch.rand(4)
    torch.manual_seed(1)
    bad = quality(poor(), 1, DOMAINS, CPU).figures
    assert torch.equal(torch.rand(4), undisturbed)
    assert bad["cycle error of cat"] > 0.5
    assert bad["cycle error"] == pytest.approx(bad["cycle error of cat"] / 2, abs=1e-4)
    for name in ("FID of cat", "KID of cat", "cycle LPIPS of cat", "LPIPS between latent styles"):
        assert bad[name] > good.figures[name]
    for name in ("cycle error of dog", "FID of dog", "KID of dog", "cycle LPIPS of dog"):
        assert bad[name] == good.figures[name]


def test_a_network_that_is_not_here_is_named(not_at_hand):
    found = quality(perfect(), 1, DOMAINS, CPU)
    assert found.figures == {
        "score": 1,
        "cycle error": 0,
        "cycle error of cat": 0,
        "cycle error of dog": 0,
        "distance left to cat": 0,
        "distance left to dog": 0,
    }
    assert found.not_available.keys() == {"Lite0", "FID", "KID", "LPIPS"}
    assert "pip install" in found.not_available["Lite0"]
    assert INCEPTION_FILE in found.not_available["FID"]
    assert ALEXNET_FILE in found.not_available["LPIPS"]


def test_damaged_weights_cost_their_figures_alone(not_at_hand, tmp_path):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / ALEXNET_FILE).write_bytes(b"no weights")
    found = quality(perfect(), 1, DOMAINS, CPU)
    assert "could not be measured" in found.not_available["LPIPS"]
    assert found.figures["cycle error"] == 0


def test_too_few_pictures_for_a_covariance_are_said(at_hand):
    one = Evaluation(real=[noise(1, 0)] * 2, cycled=[noise(1, 0)] * 2, generated=[noise(1, 1)] * 2)
    found = quality(one, 1, DOMAINS, CPU)
    assert "2 held-out pictures" in found.not_available["FID"]
    assert found.figures["cycle LPIPS of cat"] == 0


def red_noise_and_blue(count=6):
    """Coarse pictures of two domains: red and green with a fine grain, and blue without."""
    coarse = torch.nn.functional.interpolate(noise(2 * count, 5)[:, :, :8, :8], size=(64, 64), mode="bilinear")
    coarse = 0.2 * coarse.split(count)[0], 0.2 * coarse.split(count)[1]
    x_red = coarse[0] + 0.2 * noise(count, 6) + torch.tensor([0.5, -0.3, -0.3])[:, None, None]
    return x_red, coarse[1] + torch.tensor([-0.3, -0.3, 0.5])[:, None, None]


def blurred(x):
    return torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False)


def translated(share):
    """Translations a ``share`` of the way, right but for the grain of what becomes red. Nearly all comes back."""
    x_red, x_blue = red_noise_and_blue()
    shift = torch.tensor([-0.8, 0, 0.8])[:, None, None]
    return Evaluation(
        real=[x_red, x_blue],
        cycled=[x_red + 0.03 * noise(6, 7), x_blue + 0.03 * noise(6, 8)],
        generated=[x_blue - share * shift, x_red + share * (blurred(x_red) + shift - x_red)],
    )


def copied():
    x_red, x_blue = red_noise_and_blue()
    return Evaluation(real=[x_red, x_blue], cycled=[x_red, x_blue], generated=[x_blue, x_red])


def forgetful():
    """The same picture of the target for every source; of which none comes back."""
    x_red, x_blue = red_noise_and_blue()
    one_red, one_blue = x_red[:1].expand_as(x_red), x_blue[:1].expand_as(x_blue)
    return Evaluation(real=[x_red, x_blue], cycled=[one_red, one_blue], generated=[one_red, one_blue])


def test_the_score_grows_on_the_way_and_neither_copying_nor_forgetting_wins(not_at_hand):
    scores = [
        quality(evaluation, 1, DOMAINS, CPU).figures["score"]
        for evaluation in (copied(), translated(0.05), translated(0.3), forgetful(), translated(0.9))
    ]
    assert scores[0] == 0
    assert scores[1] > 0.01
    assert scores[2] > scores[1]
    assert scores[4] > max(scores[:4])
    worse = quality(translated(-0.2), 1, DOMAINS, CPU).figures
    assert worse["score"] < 0
    assert worse["distance left to dog"] > 1


def test_figures_by_features_are_those_of_the_target_and_of_the_content(features_alone):
    """The network knows photos, so that of noise only the ends of its scales are certain."""
    copies, forgotten, right = (quality(one, 1, DOMAINS, CPU).figures for one in (copied(), forgetful(), perfect()))
    assert copies["Lite0 score"] == 0
    assert copies["Lite0 content loss of cat"] == 0 < forgotten["Lite0 content loss of cat"]
    for domain in DOMAINS:
        figure = f"Lite0 Frechet distance to {domain}"
        assert right[figure] == pytest.approx(0, abs=0.01)
        assert copies[figure] > 1


def test_a_checkpoint_that_was_measured_by_features_comes_before_those_that_were_not():
    measured = [
        Quality(step=1, figures={"score": 0.9}),
        Quality(step=2, figures={"score": 0.1, "Lite0 score": 0.2}),
        Quality(step=3, figures={"score": 0.2, "Lite0 score": 0.1}),
    ]
    assert [best_measured(measured[:n]) for n in range(4)] == [None, 1, 2, 2]


def test_generators_that_were_trained_a_little_win_over_those_that_copy(not_at_hand, tmp_path):
    pictures = add_dataset(tmp_path)
    small = CYCLEGAN | {"ngf": 4, "ndf": 8, "lr": 2e-3, "lambda_identity": 0}
    options = CycleGANOptions(dataset=pictures, **small)
    data = UnpairedPictures(pictures, load_size=36, image_size=32, seed=0)
    inputs = data.fixed_inputs(2)
    trainer = CycleGANTrainer(options, device=CPU, fixed_inputs=inputs, constant_steps=20, decay_steps=0)
    for step, batch in enumerate(batches(data, 1, 0, 20, processes=0)):
        trainer.step(batch, progress=step)
    held_out = data.held_out(2)
    trained = quality(trainer.evaluate(held_out), 20, DOMAINS, CPU).figures
    trainer.networks.update({"g_ab": torch.nn.Identity(), "g_ba": torch.nn.Identity()})
    copying = quality(trainer.evaluate(held_out), 20, DOMAINS, CPU).figures
    assert copying["cycle error"] == 0 < trained["cycle error"]
    assert trained["score"] > 0.1 > copying["score"] == 0


def test_a_score_is_the_same_at_every_look_and_draws_no_random_numbers_from_the_run(not_at_hand):
    torch.manual_seed(1)
    undisturbed = torch.rand(4)
    torch.manual_seed(1)
    first, second = (quality(translated(0.5), step, DOMAINS, CPU) for step in (1, 2))
    assert first.figures == second.figures
    assert torch.equal(torch.rand(4), undisturbed)


def test_domains_of_one_flat_picture_have_a_score(not_at_hand):
    flat = torch.full((1, 3, 32, 32), 0.5)
    found = quality(Evaluation(real=[flat, flat], cycled=[flat, flat], generated=[flat, flat]), 1, DOMAINS, CPU)
    assert found.figures["score"] == 1


def test_checkpoints_within_identity_steps_do_not_compete(not_at_hand, tmp_path):
    steps = {"identity_steps": 6, "epochs": 2, "save_every": 3, "quality_every": 1}
    options = CycleGANOptions(dataset=add_dataset(tmp_path), device="cpu", **(CYCLEGAN | steps))
    run = write_run(tmp_path / "run", options)
    assert train_here(run) is RunState.SUCCEEDED
    status = read_status(run.path)
    assert [(found.step, "score" in found.figures) for found in status.quality] == [
        (3, False),
        (6, False),
        (9, True),
        (12, True),
    ]
    assert "identity_steps" in status.quality[0].not_available["score"]
    scores = {found.step: found.figures["score"] for found in status.quality[2:]}
    assert status.best_checkpoint == max(scores, key=scores.get)


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (
            CycleGANOptions(
                dataset=".", image_size=64, load_size=64, ngf=4, ndf=4, n_blocks=1, epochs=1, epochs_decay=0
            ),
            {ALEXNET_FILE},
        ),
        (
            StarGANOptions(dataset=".", img_size=64, base_dim=4, max_conv_dim=8, total_iters=1, batch_size=1, w_hpf=0),
            {ALEXNET_FILE, INCEPTION_FILE},
        ),
    ],
    ids=["cyclegan", "stargan_v2"],
)
def test_a_run_measures_what_it_has_the_networks_for(networks, tmp_path, monkeypatch, options, files):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).symlink_to(networks / "hub" / "checkpoints" / file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 3)):
        for domain in DOMAINS:
            folder = tmp_path / "pictures" / split / domain
            folder.mkdir(parents=True)
            for n in range(count):
                Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{n}.png")
    place = {"dataset": tmp_path / "pictures", "device": "cpu", "quality_pictures": 2}
    run = write_run(tmp_path / "run", options.model_copy(update=place))
    assert train_here(run) is RunState.SUCCEEDED
    [found] = read_status(run.path).quality
    by_inception = ["FID", "KID"] if INCEPTION_FILE in files else []
    assert found.not_available.keys() == {"FID", "KID"} - {*by_inception}
    figures = ["cycle error", "cycle LPIPS", *by_inception]
    names = {f"{figure} of {domain}" for figure in figures for domain in DOMAINS}
    names |= {f"distance left to {domain}" for domain in DOMAINS}
    names |= {f"Lite0 {figure} {domain}" for figure in ("Frechet distance to", "content loss of") for domain in DOMAINS}
    styles = {f"LPIPS between {kind} styles" for kind in ("latent", "reference")}
    assert found.figures.keys() == {"score", "Lite0 score", "cycle error"} | names | (
        styles if options.family == "stargan_v2" else set()
    )
    assert all(found.figures[name] > 0 for name in found.figures if "LPIPS" in name)
