"""Forecasts of runs, held to the networks themselves."""

import pytest
import torch

from models.stargan_v2.networks import everywhere
from models.store.options import CycleGANOptions, StarGANOptions
from models.training.cyclegan import CycleGANTrainer
from models.training.estimate import estimate
from models.training.stargan_v2 import StarGANTrainer


def counted(trainer):
    return {name: sum(p.numel() for p in network.parameters()) for name, network in trainer.networks.items()}


@pytest.mark.parametrize("sizes", [{}, {"ngf": 8, "ndf": 24, "n_blocks": 3}, {"ngf": 5, "n_blocks": 1, "ndf": 1}])
def test_parameters_of_a_cyclegan(sizes, tmp_path):
    options = CycleGANOptions(dataset=tmp_path, **sizes)
    inputs = (torch.zeros(1, 3, 32, 32),) * 2
    device = torch.device("cpu")
    trainer = CycleGANTrainer(options, device=device, fixed_inputs=inputs, constant_steps=1, decay_steps=0)
    assert estimate(options).parameters == counted(trainer)


@pytest.mark.parametrize(
    ("sizes", "num_domains"),
    [
        ({"img_size": 64, "base_dim": 8, "max_conv_dim": 32}, 2),
        ({"img_size": 128, "base_dim": 16, "max_conv_dim": 128, "normalize_rgb": False}, 3),
        ({"img_size": 64, "base_dim": 8, "max_conv_dim": 16, "w_hpf": 0, "style_dim": 5, "latent_dim": 3}, 4),
        ({"img_size": 256}, 2),
    ],
)
def test_parameters_of_a_stargan(sizes, num_domains, tmp_path):
    options = StarGANOptions(dataset=tmp_path, masks="ones", **sizes)
    inputs = torch.zeros(num_domains, 1, 3, options.img_size, options.img_size)
    trainer = StarGANTrainer(options, device=torch.device("cpu"), fixed_inputs=inputs, masks=everywhere)
    assert estimate(options, num_domains).parameters == counted(trainer)


def test_larger_runs_are_told_to_take_more(tmp_path):
    small, large = (
        estimate(CycleGANOptions(dataset=tmp_path, batch_size=batch_size, ngf=ngf))
        for batch_size, ngf in ((1, 16), (4, 64))
    )
    assert large.memory_mb > small.memory_mb
    assert large.flop_per_step > 16 * small.flop_per_step


def test_the_papers_generator_takes_what_was_measured():
    """99 GFLOP for a picture of 256 px, counted by PyTorch's profiler."""
    from models.training.estimate import resnet_generator

    assert sum(layer.flop for layer in resnet_generator(64, 9, 256)) == pytest.approx(99e9, rel=0.15)
