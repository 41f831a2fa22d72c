"""A training step that is recorded, as on a GPU; tests/gpu has the test that needs one."""

import copy
import gc
import weakref

import pytest
import torch

from models.serving.accelerator import CpuDevice
from models.store.options import CycleGANOptions
from models.training.cyclegan import CycleGANTrainer


@pytest.fixture
def small_trainer(tmp_path):
    """What makes trainers that are alike, and with a learning rate that falls."""

    def make(accelerator=None, **options):
        x = torch.zeros(1, 3, 32, 32)
        sizes = {"ngf": 2, "ndf": 2, "n_blocks": 1, "image_size": 32, "load_size": 32, "pool_size": 2}
        return CycleGANTrainer(
            CycleGANOptions(dataset=tmp_path, **sizes | options),
            device=torch.device("cpu"),
            fixed_inputs=(x, x),
            constant_steps=3,
            decay_steps=6,
            accelerator=accelerator,
        )

    return make


def losses_of(trainer, first, last):
    """Of some steps, each on pictures of its own."""
    found = []
    for step in range(first, last):
        torch.manual_seed(step)
        batch = tuple(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2))
        found.append(torch.stack(list(trainer.step(batch, progress=step).values())))
    return torch.stack(found)


def test_a_recorded_step_does_what_the_step_does_and_leaves_the_same_checkpoint(small_trainer):
    plain, recorded, mixed = small_trainer(), small_trainer(CpuDevice()), small_trainer(CpuDevice())
    expected = losses_of(plain, 0, 7)
    # On the device the learning rate has the digits of float32.
    assert torch.allclose(losses_of(recorded, 0, 7), expected, rtol=1e-4)
    assert torch.allclose(losses_of(mixed, 0, 5), expected[:5], rtol=1e-4)
    state = mixed.state_dict()
    assert state["optimizer_g"]["param_groups"][0].keys() == plain.state_dict()["optimizer_g"]["param_groups"][0].keys()
    assert type(state["optimizer_g"]["param_groups"][0]["lr"]) is float
    assert not state["optimizer_g"]["param_groups"][0]["capturable"]
    for resumed in (small_trainer(), small_trainer(CpuDevice())):
        resumed.load_state_dict(copy.deepcopy(state))
        assert torch.allclose(losses_of(resumed, 5, 7), expected[5:], rtol=1e-4)


def test_a_step_that_cannot_be_recorded_is_taken(small_trainer, caplog):
    class Refusing(CpuDevice):
        def record(self, work):
            raise RuntimeError("no")

    assert torch.allclose(losses_of(small_trainer(Refusing()), 0, 5), losses_of(small_trainer(), 0, 5), rtol=1e-4)
    assert {record.message for record in caplog.records} == {
        "the training step is not recorded, which costs speed alone: no"
    }


def test_networks_that_were_trained_to_find_the_pace_are_gone_at_once(small_trainer):
    """Their memory on the device is meant for the run."""
    trainer = small_trainer(CpuDevice())
    losses_of(trainer, 0, 5)
    weights = weakref.ref(next(trainer.networks.parameters()))
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert weights() is None
    finally:
        gc.enable()
