"""A training step that is recorded, as on a GPU; tests/gpu has the test that needs one."""

import copy
import gc
import weakref

import pytest
import torch

from models.serving.accelerator import CpuDevice
from models.stargan_v2.networks import everywhere
from models.store.options import CycleGANOptions, StarGANOptions
from models.training.cyclegan import CycleGANTrainer
from models.training.data import GuidedBatch
from models.training.stargan_v2 import StarGANTrainer


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


@pytest.fixture
def small_stargan(tmp_path):
    """What makes StarGANs that are alike: five steps that rebuild, then a diversity loss whose weight falls."""

    def make(accelerator=None, **options):
        sizes = {"img_size": 64, "base_dim": 2, "max_conv_dim": 4, "style_dim": 4, "latent_dim": 4, "masks": "ones"}
        rates = {"lr": 1e-3, "f_lr": 1e-3, "lambda_ds": 4, "ds_iter": 5, "identity_steps": 5}
        return StarGANTrainer(
            StarGANOptions(dataset=tmp_path, **sizes | rates | options),
            device=torch.device("cpu"),
            fixed_inputs=torch.zeros(2, 1, 3, 64, 64),
            masks=everywhere,
            accelerator=accelerator,
        )

    return make


def guided_batch():
    pictures = torch.rand(3, 1, 3, 64, 64) * 2 - 1
    y_org, y_trg = torch.randint(2, (2, 1))
    return GuidedBatch(pictures[0], y_org, pictures[1], pictures[2], y_trg, *torch.randn(2, 1, 4))


def losses_of(trainer, first, last):
    """Of some steps, each on pictures of its own."""
    found = []
    for step in range(first, last):
        torch.manual_seed(step)
        guided = isinstance(trainer, StarGANTrainer)
        batch = guided_batch() if guided else tuple(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2))
        found.append(torch.stack(list(trainer.step(batch, progress=step).values())))
    return torch.nn.utils.rnn.pad_sequence(found, batch_first=True)  # a step that rebuilds has one


def test_a_recorded_step_does_what_the_step_does_and_leaves_the_same_checkpoint(small_trainer):
    """Also if each step draws numbers that it depends on."""
    options = {"augmentations": ["color", "translation", "cutout"]}
    plain = small_trainer(**options)
    recorded, mixed = small_trainer(CpuDevice(), **options), small_trainer(CpuDevice(), **options)
    expected = losses_of(plain, 0, 7)
    # On the device the learning rate has the digits of float32.
    assert torch.allclose(losses_of(recorded, 0, 7), expected, rtol=1e-4)
    assert torch.allclose(losses_of(mixed, 0, 5), expected[:5], rtol=1e-4)
    state = mixed.state_dict()
    assert state["optimizer_g"]["param_groups"][0].keys() == plain.state_dict()["optimizer_g"]["param_groups"][0].keys()
    assert type(state["optimizer_g"]["param_groups"][0]["lr"]) is float
    assert not state["optimizer_g"]["param_groups"][0]["capturable"]
    for resumed in (small_trainer(**options), small_trainer(CpuDevice(), **options)):
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


def weights_of(trainer):
    return torch.cat([x.flatten() for x in (*trainer.networks.parameters(), *trainer.averages.parameters())])


def test_a_recorded_stargan_is_trained_as_the_options_and_the_checkpoint_say(small_stargan):
    """Both kinds of step are replayed here, while the weight of the diversity loss falls."""
    plain, recorded = small_stargan(), small_stargan(CpuDevice())
    expected = losses_of(plain, 0, 9)
    before = copy.deepcopy(plain.state_dict())
    expected = torch.cat([expected, losses_of(plain, 9, 10)])
    assert torch.allclose(losses_of(recorded, 0, 10), expected, rtol=1e-4)
    weights = weights_of(plain)
    assert torch.allclose(weights_of(recorded), weights, rtol=1e-4, atol=1e-6)
    still = small_stargan(lambda_ds=8)  # its weight is now as it was for the other one when that was recorded
    assert still.lambda_ds(9) == pytest.approx(plain.lambda_ds(8))
    still.load_state_dict(before)
    losses_of(still, 9, 10)
    assert not torch.allclose(weights_of(still), weights, rtol=1e-4, atol=1e-6)

    state = copy.deepcopy(recorded.state_dict())
    groups = [optimizer["param_groups"][0] for optimizer in state["optimizers"].values()]
    assert {(type(group["lr"]), group["capturable"]) for group in groups} == {(float, False)}
    resumed = small_stargan(CpuDevice())
    resumed.load_state_dict(state)
    assert torch.allclose(losses_of(resumed, 10, 11), losses_of(plain, 10, 11), rtol=1e-4)


def test_a_step_with_masks_of_landmarks_is_not_recorded(small_stargan, tmp_path):
    class Forbidden(CpuDevice):
        def record(self, work):
            raise AssertionError

    trainer = small_stargan(Forbidden(), masks="landmarks", landmarks=tmp_path)
    assert torch.equal(losses_of(trainer, 0, 5), losses_of(small_stargan(), 0, 5))


@pytest.mark.parametrize("family", ["small_trainer", "small_stargan"])
def test_networks_that_were_trained_to_find_the_pace_are_gone_at_once(family, request):
    """Their memory on the device is meant for the run."""
    trainer = request.getfixturevalue(family)(CpuDevice())
    losses_of(trainer, 0, 5)
    weights = weakref.ref(next(trainer.networks.parameters()))
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert weights() is None
    finally:
        gc.enable()
