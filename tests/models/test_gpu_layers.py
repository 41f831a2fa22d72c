"""The layers of GPUs, by Triton's interpreter, which runs the same kernels on a CPU."""

import sys

import pytest
import torch
from torch.nn import functional

import models
from models import gpu_layers
from models.cyclegan.networks import PatchDiscriminator, ResnetGenerator, init_normal
from models.stargan_v2.networks import ResidualBlock


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    """Triton looks at this when kernels are loaded. Where there is no GPU, this package keeps it from being loaded."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    if sys.modules.get("triton", 0) is None:
        monkeypatch.delitem(sys.modules, "triton")
    _forget_kernels()
    yield
    _forget_kernels()


def _forget_kernels():
    sys.modules.pop("models.gpu_kernels", None)
    vars(models).pop("gpu_kernels", None)


def by_torch(x, *, normalises, slope, margin):
    x = functional.instance_norm(x) if normalises else x
    x = functional.leaky_relu(x, slope)
    return functional.pad(x, (margin,) * 4, mode="reflect") if margin else x


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2, 3, 9, 7), {"normalises": True, "slope": 0.0, "margin": 3}),
        ((1, 70, 12, 10), {"normalises": True, "slope": 0.2, "margin": 1}),  # more channels than a tile has
        ((1, 64, 13, 11), {"normalises": True, "slope": 1.0, "margin": 0}),  # more pixels than a tile has
        ((2, 5, 4, 5), {"normalises": False, "slope": 1.0, "margin": 3}),
        ((1, 2, 3, 4), {"normalises": False, "slope": 0.2, "margin": 1}),
    ],
)
def test_they_make_what_torchs_layers_make_and_give_their_gradients(shape, settings):
    torch.manual_seed(0)
    x = (torch.randn(shape, dtype=torch.float64) * 2 + 30 * settings["normalises"]).requires_grad_()
    expected = by_torch(x, **settings)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    y = x.detach().float().requires_grad_()
    made = gpu_layers.finish(y, **settings)
    (made * weights.float()).sum().backward()
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(made.double(), expected, atol=1e-4)
    assert torch.allclose(y.grad.double(), x.grad, atol=1e-4)


def test_a_margin_that_is_not_shorter_than_a_side_is_refused():
    with pytest.raises(RuntimeError, match="a margin of 3 px"):
        gpu_layers.finish(torch.zeros(1, 2, 3, 9), normalises=True, slope=0.0, margin=3)


def test_where_nothing_is_above_zero_a_relu_passes_no_gradient():
    x = torch.zeros(1, 1, 3, 3, requires_grad=True)
    gpu_layers.finish(x, normalises=False, slope=0.0, margin=1).sum().backward()
    assert x.grad.abs().max() == 0


def test_a_channel_far_from_zero_keeps_its_digits():
    x = 4096 + torch.arange(16.0).reshape(1, 1, 4, 4) / 64
    made = gpu_layers.finish(x, normalises=True, slope=1.0, margin=0)
    assert torch.allclose(made.double(), functional.instance_norm(x.double()), atol=1e-3)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (lambda: ResnetGenerator(4, 1), 8),
        (lambda: ResnetGenerator(4, 1, padding="zero", antialias=True), 8),
        (lambda: PatchDiscriminator(4), 32),
    ],
)
def test_a_network_of_them_computes_and_learns_the_same(network, side):
    torch.manual_seed(0)
    plain = network()
    init_normal(plain, 0.2)
    quick = gpu_layers.quickened(plain)
    x = torch.randn(2, 3, side, side)
    expected = plain(x)
    expected.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    plain.zero_grad()
    made = quick(x)
    made.square().sum().backward()
    assert torch.allclose(made, expected, atol=1e-4)
    assert dict(quick.named_parameters()) == dict(plain.named_parameters())
    for name, parameter in plain.named_parameters():
        largest = gradients[name].abs().max()
        if parameter.grad is None:  # a bias that is taken away again
            assert name.endswith("bias")
            assert largest < 1e-3
        else:
            assert (parameter.grad - gradients[name]).abs().max() <= 1e-4 * largest + 1e-6
    assert not any(isinstance(layer, torch.nn.InstanceNorm2d | torch.nn.ReflectionPad2d) for layer in quick.modules())


def test_scales_and_shifts_stay_as_they_are():
    torch.manual_seed(0)
    plain = ResidualBlock(4, 4, normalize=True, downsample=True).requires_grad_(False)
    for norm in (plain.norm1, plain.norm2):
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(2, 4, 8, 8)
    assert torch.allclose(gpu_layers.quickened(plain)(x), plain(x), atol=1e-4)


def test_a_bias_that_others_see_is_kept():
    torch.manual_seed(0)
    plain = ResnetGenerator(4, 1).requires_grad_(False)
    torch.nn.init.constant_(plain.model[4].bias, 3.0)
    x = torch.randn(1, 3, 12, 12)
    (expected,) = plain.features(x, [4])
    (found,) = gpu_layers.quickened(plain, unbiased=False).features(x, [4])
    assert torch.allclose(found, expected, atol=1e-4)


def test_without_a_gpu_nothing_changes():
    network = ResnetGenerator(4, 1)
    assert gpu_layers.quickest(network, torch.device("cpu")) is network
    assert gpu_layers.memory_format(torch.device("cpu")) is torch.contiguous_format
