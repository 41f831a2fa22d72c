"""Generators in memory."""

import shutil

import numpy as np
import pytest

from models.cyclegan import ResnetGenerator
from models.device import ServingDevice
from models.errors import CheckpointError, NotFinite
from models.serving import engines
from models.serving.accelerator import CpuDevice
from models.serving.cuda_engine import CudaTranslator
from models.serving.painting import Painting
from models.store.catalog import CARD_FILE, Catalog
from models.store.model_card import ModelCard
from models.store.versions import Versions
from tests.conftest import add_model, let_overflow
from tests.pictures import landscape
from tests.processes import ROOT
from worker import resident_models
from worker.contract import FailureCode, Task
from worker.errors import ModelRemoved
from worker.resident_models import ResidentModels
from worker.tasks import LoadedTask, failure_of

CPU = ServingDevice("cpu")
PICTURE = np.asarray(landscape())


@pytest.fixture
def catalog(weights_dir, tmp_path):
    for name in ("second", "third"):
        add_model(weights_dir, name, ready=True)
    return Catalog(weights_dir, tmp_path / "data")


def residents(catalog, budget_bytes=1 << 30):
    return ResidentModels(catalog, ServingDevice("cpu"), budget_bytes=budget_bytes)


def test_a_model_is_loaded_once(catalog):
    held = residents(catalog)
    assert held.load("tiny") is held.load("tiny")
    result = held.run_batch([LoadedTask(Task(model="tiny", height=1, width=1), [PICTURE])])[0]
    assert [picture.shape for picture in result.pictures] == [PICTURE.shape]


def test_the_pictures_of_a_batch_are_made_by_the_version_in_service_and_say_which(catalog, weights_dir, tmp_path):
    versions = Versions(catalog, tmp_path / "data")

    def write(folder, number):
        shutil.copytree(weights_dir / ("second", "third")[number - 1], folder)
        card = ModelCard.model_validate_json((folder / CARD_FILE).read_text())
        card = card.model_copy(update={"name": "published", "version": number})
        (folder / CARD_FILE).write_text(card.text())
        return card

    held = residents(catalog)
    expected = {str(number): held.load(name)([PICTURE])[0] for number, name in ((1, "second"), (2, "third"))}
    tasks = 3 * [LoadedTask(Task(model="published", height=1, width=1), [PICTURE])]
    for change, version in (
        (lambda: versions.add("published", write), "1"),
        (lambda: versions.add("published", write), "2"),
        (lambda: versions.roll_back("published"), "1"),
    ):
        change()
        for result in held.run_batch(tasks):
            assert result.version == version
            assert np.array_equal(result.pictures[0], expected[version])
    *_, last = held.run_in_steps(LoadedTask(Task(model="published", height=1, width=1, tiled=True), [PICTURE]))
    assert last.version == "1"


def test_a_model_on_a_gpu_that_is_in_memory_computes_beside_the_worker(catalog, monkeypatch):
    monkeypatch.setattr(engines, "translator", lambda model, device: CudaTranslator(model, CPU, CpuDevice()))
    held = ResidentModels(catalog, ServingDevice("cuda"), budget_bytes=1 << 30)
    tasks = [LoadedTask(Task(model="tiny", height=1, width=1), [picture]) for picture in (PICTURE, PICTURE[::-1])]
    assert held.begin(tasks) is None  # it is not loaded
    expected = held.run_batch(tasks)
    begun = held.begin(tasks)
    assert [len(result.pictures) for result in begun.result()] == [1, 1]
    for result, wanted in zip(begun.result(), expected, strict=True):
        assert np.array_equal(result.pictures[0], wanted.pictures[0])
    add_model(catalog.models_dir, "tiny", ready=True)
    assert held.begin(tasks) is None  # its weights were replaced
    assert held.begin([LoadedTask(Task(model="nothing", height=1, width=1), [PICTURE])]) is None


def test_a_picture_in_tiles_comes_at_the_last_step(catalog):
    held = residents(catalog)
    task = Task(model="tiny", height=PICTURE.shape[0], width=PICTURE.shape[1], tiled=True)
    *first, last = held.run_in_steps(LoadedTask(task, [PICTURE]))
    assert [step.pictures for step in first] == [[]] * len(first)
    assert 0 < first[0].done < last.done == 1
    (expected,) = held.load("tiny")([PICTURE])
    assert np.abs(last.pictures[0].astype(int) - expected).max() <= 1


def test_the_least_recently_used_goes_before_another_is_loaded(catalog, weights_dir):
    add_model(weights_dir, "fourth", ready=True)
    each = float32_bytes(catalog.get("tiny"))
    held = residents(catalog, budget_bytes=3 * each)
    for name in ("tiny", "second", "third", "tiny"):
        held.load(name)
    assert held.loaded() == ["second", "third", "tiny"]
    held.load("fourth")
    # Loaded models may take less than in float32, so that one or two of them had to go.
    assert "second" not in held.loaded()
    assert held.loaded()[-2:] == ["tiny", "fourth"]


def float32_bytes(model):
    return 4 * sum(tensor.numel() for tensor in ResnetGenerator(**model.card.network).state_dict().values())


def test_models_in_memory_and_the_one_that_is_being_loaded_never_exceed_the_budget(catalog, monkeypatch):
    class Counted:
        """Takes as much as the model would in float32, from before its weights are read until it is dropped."""

        held_bytes = peak_bytes = 0

        def __init__(self, model, device):
            self.nbytes = float32_bytes(model)
            Counted.held_bytes += self.nbytes
            Counted.peak_bytes = max(Counted.peak_bytes, Counted.held_bytes)

        def __del__(self):
            Counted.held_bytes -= self.nbytes

    monkeypatch.setattr(resident_models, "Translator", Counted)
    each = float32_bytes(catalog.get("tiny"))
    held = residents(catalog, budget_bytes=2 * each)
    for name in ("tiny", "second", "third", "tiny", "second", "third"):
        held.load(name)
    assert held.loaded() == ["second", "third"]
    add_model(catalog.models_dir, "third", ready=True)  # weights that were replaced
    held.load("third")
    assert Counted.peak_bytes == 2 * each


def test_models_that_share_weights_are_held_once(tmp_path):
    catalog = Catalog(ROOT / "weights", tmp_path)
    held = residents(catalog)
    assert held.load("style-embers") is held.load("style-yellow-ink")
    assert held.loaded() == ["style-26"]


def test_a_batch_is_painted_each_in_its_own_style(tmp_path):
    catalog = Catalog(ROOT / "weights", tmp_path)
    held = residents(catalog)
    codes = [catalog.get(name).card.code for name in ("style-embers", "style-yellow-ink")]
    tasks = [
        LoadedTask(Task(model="style-embers", height=64, width=96, painting=Painting(code=code)), [PICTURE])
        for code in codes
    ]
    pictures = [result.pictures[0] for result in held.run_batch(tasks)]
    for code, picture in zip(codes, pictures, strict=True):
        assert np.array_equal(picture, held.load("style-embers").paint([PICTURE], [np.array(code, np.float32)])[0])
    red, ink = (picture.reshape(-1, 3).mean(axis=0) for picture in pictures)
    assert red[0] > 2 * red[2]  # glowing red
    assert ink.mean() > 100  # on light ground


def test_nothing_is_dropped_for_a_model_that_cannot_be_read(catalog):
    held = residents(catalog, budget_bytes=1)
    held.load("tiny")
    catalog.get("second").weights.write_bytes(b"damaged")
    with pytest.raises(CheckpointError):
        held.load("second")
    assert held.loaded() == ["tiny"]


def test_one_model_is_held_even_over_the_budget(catalog):
    held = residents(catalog, budget_bytes=1)
    held.load("tiny")
    held.load("second")
    assert held.loaded() == ["second"]


def test_weights_that_were_replaced_are_loaded_anew(catalog):
    held = residents(catalog)
    before = held.load("tiny")
    folder = catalog.models_dir / "tiny"
    add_model(catalog.models_dir, "tiny", ready=True)
    assert held.load("tiny") is not before
    assert folder.is_dir()


def test_an_unknown_model_is_an_error_of_its_own(catalog):
    with pytest.raises(ModelRemoved, match="'nothing' was taken out of service"):
        residents(catalog).load("nothing")


def test_a_job_fails_with_a_sentence_rather_than_with_a_picture_of_nothing(catalog):
    let_overflow(catalog.weights_dir / "tiny")
    held = residents(catalog)
    with pytest.raises(NotFinite) as raised:
        held.run_batch([LoadedTask(Task(model="tiny", height=64, width=96), [PICTURE])])
    failure = failure_of(raised.value)
    assert failure.code is FailureCode.TRANSLATION_FAILED
    assert failure.detail.startswith("What 'tiny' makes of this picture is not made of finite numbers")
