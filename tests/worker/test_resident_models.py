"""Generators in memory."""

import numpy as np
import pytest
import torch

from models.errors import NotFinite
from models.store.catalog import Catalog
from tests.conftest import add_model
from tests.pictures import landscape
from worker.contract import FailureCode, Task
from worker.errors import ModelRemoved
from worker.resident_models import ResidentModels
from worker.tasks import LoadedTask, failure_of

PICTURE = np.asarray(landscape())


@pytest.fixture
def catalog(weights_dir, tmp_path):
    for name in ("second", "third"):
        add_model(weights_dir, name, ready=True)
    return Catalog(weights_dir, tmp_path / "data")


def residents(catalog, budget_bytes=1 << 30):
    return ResidentModels(catalog, torch.device("cpu"), budget_bytes=budget_bytes)


def test_a_model_is_loaded_once(catalog):
    held = residents(catalog)
    assert held.load("tiny") is held.load("tiny")
    result = held.run_batch([LoadedTask(Task(model="tiny", height=1, width=1), [PICTURE])])[0]
    assert [picture.shape for picture in result.pictures] == [PICTURE.shape]


def test_the_least_recently_used_goes_when_the_budget_is_passed(catalog):
    held = residents(catalog)
    total = sum(held.load(name).nbytes for name in ("tiny", "second", "third"))
    held.load("tiny")
    held.budget_bytes = total - 1
    held.load("third")
    assert held.loaded() == ["tiny", "third"]


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
    held = residents(catalog)
    with torch.no_grad():
        held.load("tiny")._network.model[1].bias[0] = float("nan")
    with pytest.raises(NotFinite) as raised:
        held.run_batch([LoadedTask(Task(model="tiny", height=64, width=96), [PICTURE])])
    failure = failure_of(raised.value)
    assert failure.code is FailureCode.TRANSLATION_FAILED
    assert failure.detail.startswith("What 'tiny' makes of this picture is not made of finite numbers")
