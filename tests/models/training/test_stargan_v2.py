"""The StarGAN v2 trainer, small but whole."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import DatasetError
from models.landmarks.network import LandmarkNetwork
from models.stargan_v2.networks import Generator, everywhere
from models.stargan_v2.style import latent_code, mean_styles, truncate
from models.store.options import StarGANOptions, read_options
from models.store.publication import publish
from models.store.run_status import RunState
from models.store.samples import read_rows
from models.training.data import LabelledPictures
from models.training.loader import batches
from models.training.stargan_v2 import StarGANTrainer
from models.weights import doctor
from tests.models.training.runs import fingerprint, kill_after, steps, train, train_here, write_run

SMALL = {"img_size": 64, "base_dim": 4, "max_conv_dim": 8, "style_dim": 8, "latent_dim": 4, "batch_size": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three domains of few pictures, of very different numbers."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    for domain, count in (("cat", 12), ("dog", 2), ("wild", 3)):
        folder = root / "train" / domain
        folder.mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{number}.png")
    return root


def make_run(path, dataset, **options):
    schedule = {"total_iters": 6, "ds_iter": 6, "sample_every": 3, "save_every": 2, "device": "cpu", "masks": "ones"}
    return write_run(path, StarGANOptions(dataset=dataset, **(SMALL | schedule | options)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    """A run that nobody disturbed."""
    run = make_run(tmp_path_factory.mktemp("runs") / "whole", dataset)
    assert train_here(run) is RunState.SUCCEEDED
    return run


def latent_roles():
    return ["variant", "variant", "output"]  # at psi 0.5, 0.7 and 1


def cut(sheet, box):
    left, top, right, bottom = box
    return sheet[top:bottom, left:right]


def test_a_run_leaves_metrics_samples_and_checkpoints(finished):
    assert steps(finished) == [1, 2, 3, 4, 5, 6]
    names = json.loads(finished.metrics_file.read_text().splitlines()[0]).keys()
    assert {"D_latent_reg", "D_reference_fake", "G_latent_sty", "G_reference_ds", "G_reference_cyc"} <= names
    # a reference's row for each of 9 pictures, 3 × 3 rows of latent codes, sources, reconstruction; 9 columns and one
    with Image.open(finished.path / "samples" / "000006.png") as grid:
        assert grid.size == (10 * 66 + 2, 20 * 66 + 2)
        sheet = np.asarray(grid)
    rows = read_rows(finished.sample_path(6))
    assert [row.role for row in rows] == ["input", "cycle", *["output", "variant", "variant"] * 3, *latent_roles() * 3]
    assert [row.label for row in rows if row.role == "output"] == [
        *(f"in the style of the {domain} at the left" for domain in ("cat", "dog", "wild")),
        *(f"{domain}, a latent code" for domain in ("cat", "dog", "wild")),
    ]
    for n, row in enumerate(rows):
        assert row.box == (0, n * 66, 10 * 66, (n + 1) * 66)
        assert len(row.cells) == 9
        assert (row.reference is None) == ("at the left" not in row.label)
    # the references of the first domain are its inputs, the last one first
    assert all(
        np.array_equal(cut(sheet, row.reference), cut(sheet, rows[0].cells[2 - n])) for n, row in enumerate(rows[2:5])
    )
    assert (sheet[:66, :66] == 255).all()


def test_a_run_killed_and_resumed_ends_with_the_same_weights(finished, tmp_path, dataset):
    run = make_run(tmp_path / "killed", dataset)
    kill_after(run, 3)
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)
    assert steps(run) == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_asked_to_stop_does_after_its_step_and_resumes_to_the_same_weights(finished, tmp_path, dataset):
    run = make_run(tmp_path / "stopped", dataset)
    run.request_stop()
    assert train_here(run) is RunState.STOPPED
    assert steps(run) == [1]
    run.forget_stop()
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(finished)
    assert steps(run) == [1, 2, 3, 4, 5, 6]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, dataset):
    run = make_run(tmp_path / "diverges", dataset, total_iters=2)
    assert train_here(run) is RunState.SUCCEEDED
    run.options_file.write_text(run.options().model_copy(update={"total_iters": 6}).model_dump_json())
    state = torch.load(run.checkpoints()[-1], weights_only=True)
    state["trainer"]["networks"]["style_encoder.shared.0.weight"].fill_(torch.inf)
    torch.save(state, run.checkpoints()[-1])
    status, printed = train(run)
    assert status == 3
    assert "Stopped at step 3" in printed
    assert "The last checkpoint is from step 2" in printed
    assert steps(run) == [1, 2]
    assert run.checkpoints()[-1].stem == "000002"


def test_the_published_model_holds_the_moving_averages(finished, tmp_path):
    card = publish(finished, tmp_path / "demo", description="d", licence="l", source="s")
    assert card.domains == ["cat", "dog", "wild"]
    assert (card.family, card.masks, card.network["num_domains"]) == ("stargan_v2", "ones", 3)
    weights = doctor.load_exactly(tmp_path / "demo" / "weights.safetensors", "stargan_v2", card.network)
    state = torch.load(finished.checkpoints()[-1], weights_only=True)["trainer"]
    key = "generator.from_rgb.weight"
    assert torch.allclose(weights.state[key].float(), state["averages"][key], atol=1e-3)
    assert not torch.equal(state["averages"][key], state["networks"][key])


def test_masks_of_landmarks_are_trained_with_and_published(tmp_path, dataset):
    few = tmp_path / "few"  # the landmark network costs much more than the rest
    for domain in ("dog", "wild"):
        (few / "train" / domain).mkdir(parents=True)
        for picture in ("0.png", "1.png"):
            shutil.copy(dataset / "train" / domain / picture, few / "train" / domain)
    torch.manual_seed(0)
    landmarks = tmp_path / "landmarks.pth"
    torch.save(LandmarkNetwork().state_dict(), landmarks)
    run = make_run(tmp_path / "faces", few, masks="landmarks", landmarks=landmarks, total_iters=1, batch_size=1)
    assert train_here(run) is RunState.SUCCEEDED
    card = publish(run, tmp_path / "faces-model", description="d", licence="l", source="s")
    assert (card.masks, card.align, card.network["landmarks"]) == ("landmarks", "none", 1)
    doctor.load_exactly(tmp_path / "faces-model" / "weights.safetensors", "stargan_v2", card.network)
    assert str(tmp_path) not in (tmp_path / "faces-model" / "model.json").read_text()


def trainer_of(dataset, **options):
    whole = StarGANOptions(dataset=dataset, masks="ones", **(SMALL | options))
    return StarGANTrainer(
        whole, device=torch.device("cpu"), fixed_inputs=torch.zeros(3, 1, 3, 64, 64), masks=everywhere
    )


def test_of_many_domains_a_sample_picture_shows_the_first_alone(dataset):
    def size(num_domains):
        options = StarGANOptions(dataset=dataset, masks="ones", **SMALL)
        inputs = torch.zeros(num_domains, 1, 3, 64, 64)
        trainer = StarGANTrainer(options, device=torch.device("cpu"), fixed_inputs=inputs, masks=everywhere)
        rows, _ = trainer.sample([f"domain {n}" for n in range(num_domains)])
        return len(rows), len(rows[0].pictures)

    assert size(6) == size(4)
    assert size(3) < size(4)


def test_an_evaluation_goes_by_the_domain_that_pictures_are_like(dataset):
    class DomainAsStyle(torch.nn.Module):
        def forward(self, x, y):
            return y[:, None].float()

    class Painted(torch.nn.Module):
        def forward(self, x, s, masks):
            return torch.ones_like(x) * s[:, :, None, None]

    trainer = trainer_of(dataset)
    trainer.averages.update(
        {"generator": Painted(), "style_encoder": DomainAsStyle(), "mapping_network": DomainAsStyle()}
    )
    held_out = [torch.zeros(2, 3, 64, 64), torch.zeros(7, 3, 64, 64), torch.zeros(1, 3, 64, 64)]
    found = trainer.evaluate(held_out)
    for y in range(3):
        assert torch.equal(found.real[y], held_out[y])
        assert found.generated[y].unique().tolist() == [y]
        assert found.cycled[y].unique().tolist() == [y]
        assert len(found.cycled[y]) == len(held_out[y])
    references, latents = (list(found.variants[kind]()) for kind in ("reference", "latent"))
    assert [len(variants) for variants in references] == [5] * 2 + [2]  # as many as the next domain has, if several
    assert [variants.unique().tolist() for variants in latents] == [[1]] * 2 + [[2]] * 7 + [[0]]


def test_the_diversity_weight_falls_linearly_to_0(dataset):
    trainer = trainer_of(dataset, lambda_ds=2, ds_iter=10)
    assert [trainer.lambda_ds(step) for step in (0, 5, 10, 20)] == [2, 1, 0, 0]


def test_the_diversity_weight_begins_to_fall_when_the_loss_is_first_used(dataset):
    trainer = trainer_of(dataset, lambda_ds=2, ds_iter=10, identity_steps=4)
    assert [trainer.lambda_ds(step) for step in (0, 3, 4, 9, 14)] == [2, 2, 2, 1, 0]


def test_masks_of_the_sources_are_computed_once_a_step(dataset):
    masked = []

    def masks(x):
        masked.append(x.detach().clone())
        return everywhere(x)

    options = StarGANOptions(dataset=dataset, masks="ones", **SMALL)
    inputs = torch.zeros(3, 1, 3, 64, 64)
    trainer = StarGANTrainer(options, device=torch.device("cpu"), fixed_inputs=inputs, masks=masks)
    batch = LabelledPictures(dataset, img_size=64, latent_dim=4, randcrop_prob=0.5, seed=0)
    guided = next(batches(batch, 2, 0, 1, processes=0))
    trainer.step(guided, progress=0)
    assert len(masked) == 3  # of the sources, and of what is generated from a latent code and from a reference
    assert [torch.equal(x, guided.x_src) for x in masked] == [True, False, False]


@pytest.mark.parametrize("num_domains", [2, 6])
def test_alarms_are_about_each_domain_in_the_style_of_the_next(dataset, num_domains):
    class DomainAsStyle(torch.nn.Module):
        def forward(self, x, y):
            return y[:, None].float().expand(-1, 8)

    class Painted(torch.nn.Module):
        def forward(self, x, s, masks):
            return x + 10 * s[:, :1, None, None]

    options = StarGANOptions(dataset=dataset, masks="ones", **SMALL)
    inputs = torch.rand(num_domains, 2, 3, 64, 64)
    trainer = StarGANTrainer(options, device=torch.device("cpu"), fixed_inputs=inputs, masks=everywhere)
    trainer.averages.update({"generator": Painted(), "style_encoder": DomainAsStyle()})
    _, translations = trainer.sample([str(y) for y in range(num_domains)])
    assert translations.keys() == {(y, (y + 1) % num_domains) for y in range(num_domains)}
    for (y_org, y_trg), (x, generated) in translations.items():
        assert torch.equal(x, inputs[y_org])
        assert torch.equal(generated, x + 10 * y_trg)


def test_each_domain_is_drawn_as_often_as_the_next(dataset):
    data = LabelledPictures(dataset, img_size=64, latent_dim=4, randcrop_prob=0.5, seed=0)
    drawn = torch.stack([data[n].y_org for n in range(300)]).bincount()
    assert drawn.tolist() == pytest.approx([100, 100, 100], abs=25)


def test_items_depend_on_seed_and_position_alone(dataset):
    first, second = (LabelledPictures(dataset, img_size=64, latent_dim=4, randcrop_prob=0.5, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first[7], second[7], strict=True))
    assert first[7].x_src.shape == (3, 64, 64)
    assert not torch.equal(first[7].z_trg, first[7].z_trg2)


def test_one_domain_is_not_enough(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(DatasetError, match="two domains or more"):
        LabelledPictures(tmp_path, img_size=64, latent_dim=4, randcrop_prob=0.5, seed=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('{"family": "stargan_v2", "dataset": "d", "img_size": 96, "w_hpf": 0}', "power of two"),
        ('{"family": "stargan_v2", "dataset": "d"}', "weights of the landmark network"),
        ('{"family": "stargan_v2", "dataset": "d", "ngf": 3}', "ngf"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        read_options(options)


def test_a_latent_code_is_the_same_for_a_seed_everywhere():
    assert latent_code(7, 4)[0].tolist() == pytest.approx([-0.1468, 0.7861, 0.9468, -1.1143], abs=1e-4)


def test_truncation_draws_styles_towards_the_mean(dataset):
    mapping = trainer_of(dataset).mapping_network
    means = mean_styles(mapping, latent_dim=4)
    s = mapping(latent_code(1, 4), torch.tensor([2]))
    assert torch.equal(truncate(s, means[2], 1.0), s)
    assert torch.allclose(truncate(s, means[2], 0.0), means[2])
    halfway = truncate(s, means[2], 0.5)
    assert torch.allclose((halfway - means[2]).norm() * 2, (s - means[2]).norm())


def test_a_run_may_begin_with_rebuilding_alone(dataset):
    trainer = trainer_of(dataset, identity_steps=1)
    data = LabelledPictures(dataset, img_size=64, latent_dim=4, randcrop_prob=0.5, seed=0)
    guided = batches(data, 2, 0, 2, processes=0)
    before = trainer.discriminator.state_dict()["main.0.weight"].clone()
    assert set(trainer.step(next(guided), progress=0)) == {"G_identity"}
    assert torch.equal(trainer.discriminator.state_dict()["main.0.weight"], before)
    assert "D_latent_real" in trainer.step(next(guided), progress=1)


def test_averages_follow_the_networks_slowly(dataset):
    trainer = trainer_of(dataset)
    data = LabelledPictures(dataset, img_size=64, latent_dim=4, randcrop_prob=0.5, seed=0)
    before = trainer.averages["generator"].state_dict()["from_rgb.weight"].clone()
    trainer.step(next(batches(data, 2, 0, 1, processes=0)), progress=0)
    now = trainer.networks["generator"].state_dict()["from_rgb.weight"]
    average = trainer.averages["generator"].state_dict()["from_rgb.weight"]
    assert torch.allclose(average, before.lerp(now, 0.001), atol=1e-7)
    assert isinstance(trainer.generator, Generator)
