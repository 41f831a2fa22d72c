"""The trainer of a CycleGAN and its data, and what a run can't start with."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from models.device import ServingDevice
from models.errors import CheckpointError, DatasetError, RunFolderError
from models.serving.translator import Translator
from models.store.catalog import Catalog
from models.store.options import CycleGANOptions
from models.store.publication import publish
from models.store.run_folder import RunFolder
from models.store.run_status import RunState
from models.store.samples import read_rows, save_sheet
from models.training import __main__ as program
from models.training.checkpoints import save_checkpoint
from models.training.cyclegan import CycleGANTrainer
from models.training.data import UnpairedPictures
from tests.models.training.cyclegan_runs import Brighter, make_run, red_and_blue
from tests.models.training.runs import train, train_here
from tests.training import add_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return red_and_blue(tmp_path_factory.mktemp("dataset"))


def test_the_newest_checkpoint_is_told_by_its_number(tmp_path):
    run = RunFolder(tmp_path)
    for step in (999_000, 999_500, 1_000_000):
        save_checkpoint(run, {"step": step}, {})
        run.drop_checkpoints(keep=2, best=None)
    assert [path.name for path in run.checkpoints()] == ["999500.pt", "1000000.pt"]


def test_a_checkpoint_that_the_disk_has_no_room_for_is_not_begun(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    first = save_checkpoint(run, {"step": 1, "weights": torch.zeros(1000)}, {})
    usage = shutil.disk_usage(tmp_path)._replace(free=first.stat().st_size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="are needed"):
        save_checkpoint(run, {"step": 2, "weights": torch.zeros(1000)}, {})
    assert run.checkpoints() == [first]
    assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", "exports", "000001", "000001.pt"}


def test_an_evaluation_goes_by_the_domain_that_pictures_are_like(dataset):
    class Painted(torch.nn.Module):
        def __init__(self, level):
            super().__init__()
            self.level = level

        def forward(self, x):
            return torch.full_like(x, self.level)

    options = CycleGANOptions(dataset=dataset, ngf=2, ndf=2, n_blocks=1, image_size=32, load_size=36)
    inputs = UnpairedPictures(dataset, load_size=36, image_size=32, seed=0).fixed_inputs(1)
    trainer = CycleGANTrainer(options, device=torch.device("cpu"), fixed_inputs=inputs, constant_steps=1, decay_steps=0)
    trainer.networks.update({"g_ab": Painted(0.5), "g_ba": Painted(-0.5)})
    held_out = [torch.zeros(2, 3, 32, 32), torch.zeros(3, 3, 32, 32)]
    found = trainer.evaluate(held_out)
    like_a, like_b = (generated.unique().tolist() for generated in found.generated)
    assert (like_a, like_b) == ([-0.5], [0.5])
    assert [cycled.shape for cycled in found.cycled] == [pictures.shape for pictures in held_out]
    assert [cycled.unique().tolist() for cycled in found.cycled] == [like_a, like_b]
    assert found.variants == {}


def test_a_discriminators_loss_has_its_name(dataset):
    options = CycleGANOptions(dataset=dataset, ngf=2, ndf=2, n_blocks=1, image_size=32, load_size=36)
    x = torch.zeros(1, 3, 32, 32)
    trainer = CycleGANTrainer(options, device=torch.device("cpu"), fixed_inputs=(x, x), constant_steps=1, decay_steps=0)
    last_bias = list(trainer.networks["d_b"].parameters())[-1]
    with torch.no_grad():
        last_bias += 100  # d_b takes everything for more than real
    losses = trainer.step((x, x), progress=0)
    assert losses["d_b"] > 1000 > losses["d_a"]
    assert losses["g_ab_adv"] > 1000 > losses["g_ba_adv"]
    assert trainer.undecided["d_b"].keys() == {"d_b"}


@pytest.mark.parametrize("counts", [(1, 3), (3, 1)])
def test_domains_with_unequal_numbers_of_held_out_pictures_have_rows_of_their_own_length(tmp_path, counts):
    greys = [[40 * n + 20 * domain for n in range(1, count + 1)] for domain, count in enumerate(counts)]
    for domain, levels in zip("AB", greys, strict=True):
        for part in ("train", "test"):
            (tmp_path / f"{part}{domain}").mkdir()
            for n, level in enumerate(levels):
                Image.new("RGB", (32, 32), (level,) * 3).save(tmp_path / f"{part}{domain}" / f"{n}.png")
    data = UnpairedPictures(tmp_path, load_size=32, image_size=32, seed=0)
    options = CycleGANOptions(dataset=tmp_path, ngf=2, ndf=2, n_blocks=1, image_size=32, load_size=32)
    inputs = data.fixed_inputs(4)
    trainer = CycleGANTrainer(options, device=torch.device("cpu"), fixed_inputs=inputs, constant_steps=1, decay_steps=0)
    trainer.networks.update({"g_ab": Brighter(5), "g_ba": Brighter(-10)})
    save_sheet(tmp_path / "sheet.png", trainer.sample(["A", "B"])[0])
    with Image.open(tmp_path / "sheet.png") as sheet:
        shown = [
            [round(np.asarray(sheet.crop(cell)).mean()) for cell in row.cells]
            for row in read_rows(tmp_path / "sheet.png")
        ]
    changes = ((0, 0), (0, 5), (0, -5), (1, 0), (1, -10), (1, -5))
    assert shown == [[level + change for level in greys[domain]] for domain, change in changes]


def test_the_learning_rate_is_constant_and_then_falls_to_0(dataset):
    options = CycleGANOptions(dataset=dataset, ngf=2, ndf=2, n_blocks=1, image_size=32, load_size=36)
    inputs = UnpairedPictures(dataset, load_size=36, image_size=32, seed=0).fixed_inputs(1)
    trainer = CycleGANTrainer(
        options, device=torch.device("cpu"), fixed_inputs=inputs, constant_steps=10, decay_steps=4
    )
    rates = [trainer.learning_rate(step) / options.lr for step in (0, 9, 10, 12, 13)]
    assert rates == pytest.approx([1, 1, 1, 0.5, 0.25])


def test_training_teaches_the_generators_the_other_domains_colour(tmp_path, dataset):
    once = {"sample_every": 1000, "save_every": 1000}
    networks = {"ngf": 4, "ndf": 8, "lr": 2e-3, "lambda_identity": 0}
    run = make_run(tmp_path / "learns", dataset, epochs=20, epochs_decay=0, **networks, **once)
    assert train_here(run) is RunState.SUCCEEDED
    publish(run, tmp_path / "models" / "red2blue", direction="AtoB", description="d", licence="l", source="s")
    model = Catalog(tmp_path / "none", tmp_path).get("red2blue")
    red = np.full((32, 32, 3), (200, 40, 40), np.uint8)
    red[::2] += 10
    out = Translator(model, ServingDevice("cpu"))([red])[0].mean(axis=(0, 1))
    assert out[2] > out[0], f"still red: {out}"


def test_the_order_of_pictures_depends_on_the_position_alone(dataset):
    first, second = (UnpairedPictures(dataset, load_size=36, image_size=32, seed=3) for _ in range(2))
    x_a, x_b = first[11]
    y_a, y_b = second[11]
    assert torch.equal(x_a, y_a)
    assert torch.equal(x_b, y_b)
    assert x_a.shape == (3, 32, 32)


def test_each_lap_shows_every_picture_once(dataset):
    data = UnpairedPictures(dataset, load_size=32, image_size=32, seed=0)
    for lap in range(3):
        seen = {round(data[lap * 6 + place][0].mean().item(), 5) for place in range(6)}
        assert len(seen) == 6


@pytest.mark.parametrize(
    ("prepare", "error", "words"),
    [
        (lambda root: None, RunFolderError, "options.json"),
        (lambda root: (root / "options.json").write_text('{"dataset": "/nowhere"}'), DatasetError, "trainA"),
        (
            lambda root: (root / "options.json").write_text('{"dataset": "/nowhere", "load_size": 64}'),
            RunFolderError,
            "smaller than the crop",
        ),
        (
            lambda root: (root / "options.json").write_text(
                f'{{"dataset": "{add_dataset(root)}", "init_from": "/nowhere.safetensors"}}'
            ),
            CheckpointError,
            "/nowhere.safetensors",
        ),
    ],
)
def test_a_run_that_cannot_start_says_why(tmp_path, prepare, error, words):
    prepare(tmp_path)
    with pytest.raises(error, match=words):
        program.run(tmp_path)


def test_an_unknown_option_is_refused_without_a_traceback(tmp_path):
    (tmp_path / "options.json").write_text('{"dataset": "/nowhere", "learning_rate": 1}')
    status, printed = train(RunFolder(tmp_path))
    assert status == 2
    assert "learning_rate" in printed
    assert "Traceback" not in printed


def test_a_run_may_begin_with_the_identity_alone(tmp_path, dataset):
    run = make_run(tmp_path / "run", dataset, identity_steps=4, epochs=1, epochs_decay=0)
    assert train_here(run) is RunState.SUCCEEDED
    records = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert [set(record) - {"step", "seconds"} for record in records[:4]] == [{"g_ab_identity", "g_ba_identity"}] * 4
    assert {"g_ab_adv", "cycle_aba", "d_b"} <= records[4].keys()
