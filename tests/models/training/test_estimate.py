"""Estimates, compared with real steps of the trainers."""

import dataclasses
import json
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.cyclegan.networks import ResnetGenerator
from models.stargan_v2.networks import everywhere
from models.store.cut_options import CUTOptions
from models.store.options import CycleGANOptions, StarGANOptions, sizes
from models.training.arithmetic import flop_registry
from models.training.cut import CUTTrainer
from models.training.cyclegan import CycleGANTrainer
from models.training.data import GuidedBatch
from models.training.estimate import OVERHEAD_MB, estimate, estimate_run, measured
from models.training.stargan_v2 import StarGANTrainer


def counted(trainer):
    return {name: sum(p.numel() for p in network.parameters()) for name, network in trainer.networks.items()}


@pytest.mark.parametrize(
    "sizes", [{}, {"ngf": 8, "ndf": 24, "n_blocks": 3}, {"ngf": 5, "n_blocks": 1, "ndf": 1}, {"norm": "batch"}]
)
def test_parameters_of_a_cyclegan(sizes, tmp_path):
    options = CycleGANOptions(dataset=tmp_path, **sizes)
    inputs = (torch.zeros(1, 3, 32, 32),) * 2
    device = torch.device("cpu")
    trainer = CycleGANTrainer(options, device=device, fixed_inputs=inputs, constant_steps=1, decay_steps=0)
    assert estimate_run(options).parameters == counted(trainer)


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
    assert estimate_run(options, num_domains).parameters == counted(trainer)


class Meter(TorchDispatchMode):
    """Adds up the arithmetic of all operations, and the bytes of all tensors that are alive at once."""

    def __init__(self):
        super().__init__()
        self.flop = self.live = self.peak = 0
        self.known = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        if count := flop_registry.get(operation._overloadpacket):
            self.flop += count(*args, **(kwargs or {}), out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self.known:
                self.known[storage] = True
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.freed, storage.nbytes())
        return out

    def freed(self, nbytes):
        self.live -= nbytes


SMALL_CYCLEGAN = {"image_size": 64, "load_size": 64, "ngf": 8, "ndf": 16, "n_blocks": 3, "batch_size": 2}
BY_FEATURES = {"discriminator": "projected", "lambda_content": 1, "lambda_a": 0, "lambda_b": 0}
SMALL_STARGAN = {"img_size": 64, "base_dim": 16, "max_conv_dim": 64, "batch_size": 2}


def step(sizes, folder):
    """Options with these sizes, and the arithmetic of a real step and the bytes that it takes, on a CPU."""
    n, cpu = sizes["batch_size"], torch.device("cpu")
    with Meter() as meter:
        x = torch.zeros(n, 3, 64, 64)
        batch = (x, x)
        if "patches" in sizes:
            options = CUTOptions(dataset=folder, **sizes)
            trainer = CUTTrainer(options, device=cpu, fixed_inputs=(x, x), constant_steps=2, decay_steps=0)
        elif "ngf" in sizes:
            options = CycleGANOptions(dataset=folder, **sizes)
            trainer = CycleGANTrainer(options, device=cpu, fixed_inputs=(x, x), constant_steps=2, decay_steps=0)
        else:
            options = StarGANOptions(dataset=folder, masks="ones", **sizes)
            masks = everywhere if options.w_hpf else lambda x: None
            trainer = StarGANTrainer(options, device=cpu, fixed_inputs=torch.stack([x, x]), masks=masks)
            y, z = torch.zeros(n, dtype=torch.int64), torch.zeros(n, options.latent_dim)
            batch = GuidedBatch(x, y, x, x, y, z, z)
        trainer.step(batch, progress=0)  # Adam's moments exist from the first step on
        before = meter.flop
        trainer.step(batch, progress=1)
    return options, meter.flop - before, meter.peak


@pytest.mark.parametrize(
    "sizes",
    [
        SMALL_CYCLEGAN,
        SMALL_CYCLEGAN | {"lambda_identity": 0, "ngf": 16},
        SMALL_CYCLEGAN | {"patches": 64},
        SMALL_CYCLEGAN | {"patches": 64, "identity_nce": False, "flip_equivariance": True, "antialias": False},
        SMALL_CYCLEGAN | BY_FEATURES,
        SMALL_CYCLEGAN | BY_FEATURES | {"augmentations": ["color"]},
        SMALL_STARGAN,
        SMALL_STARGAN | {"w_hpf": 0, "batch_size": 4},
    ],
)
def test_a_real_step_takes_the_estimated_arithmetic_and_no_more_memory(sizes, tmp_path):
    options, flop, peak_bytes = step(sizes, tmp_path)
    found = estimate_run(options)
    assert found.flop_per_step == pytest.approx(flop, rel=0.05)
    assert peak_bytes < (found.memory_mb - OVERHEAD_MB) * 2**20 < 2 * peak_bytes
    assert found.cpu_memory_mb == found.memory_mb


def test_the_convolutions_of_a_cpu_compute_less_and_keep_what_is_estimated(tmp_path):
    options, flop, peak_bytes = step(SMALL_CYCLEGAN | {"ngf": 32, "n_blocks": 2, "batch_size": 4}, tmp_path)
    found = estimate_run(options)
    assert flop < 0.7 * found.flop_per_step
    assert (found.memory_mb - OVERHEAD_MB) * 2**20 < peak_bytes  # what would be kept on an accelerator
    assert peak_bytes < (found.cpu_memory_mb - OVERHEAD_MB) * 2**20 < 2 * peak_bytes


def test_larger_runs_take_more(tmp_path):
    small, large = (
        estimate_run(CycleGANOptions(dataset=tmp_path, batch_size=batch_size, ngf=ngf))
        for batch_size, ngf in ((1, 16), (4, 64))
    )
    assert large.memory_mb > small.memory_mb
    assert large.flop_per_step > 16 * small.flop_per_step


def test_the_papers_generator_takes_what_was_measured():
    """99 GFLOP for a picture of 256 px."""
    with torch.device("meta"):
        network = ResnetGenerator()
        found = measured(network, lambda: network(torch.zeros(1, 3, 256, 256)))
    assert found.forward_flop == pytest.approx(99e9, rel=0.15)


def test_landmark_masks_add_arithmetic(tmp_path):
    with_landmarks, without = (
        estimate_run(StarGANOptions(dataset=tmp_path, landmarks=tmp_path, masks=masks, **SMALL_STARGAN))
        for masks in ("landmarks", "ones")
    )
    assert with_landmarks.flop_per_step > without.flop_per_step
    assert with_landmarks.memory_mb > without.memory_mb
    assert with_landmarks.parameters == without.parameters


def test_an_estimate_draws_no_random_numbers(tmp_path):
    torch.manual_seed(1)
    undisturbed = torch.rand(4)
    torch.manual_seed(1)
    estimate_run(CycleGANOptions(dataset=tmp_path, ngf=4, n_blocks=1))
    assert torch.equal(torch.rand(4), undisturbed)


@pytest.mark.parametrize("family", ["cyclegan", "stargan_v2"])
def test_what_is_sent_to_be_estimated_is_all_that_an_estimate_depends_on(family, tmp_path):
    if family == "cyclegan":
        options = CycleGANOptions(dataset=tmp_path, lr=1.0, precision="bf16", lambda_identity=0, **SMALL_CYCLEGAN)
    else:
        options = StarGANOptions(dataset=tmp_path, masks="ones", domains=["a", "b", "c"], **SMALL_STARGAN)
    request = json.loads(json.dumps(sizes(options, 3)))
    assert estimate([request]) == [dataclasses.asdict(estimate_run(options, 3))]
