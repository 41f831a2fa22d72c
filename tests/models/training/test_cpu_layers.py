"""The layers for training on a CPU are held to torch's."""

import copy

import pytest
import torch
from torch import nn

from models.cyclegan import ResnetGenerator
from models.stargan_v2.networks import Discriminator, Generator
from models.training.cpu_layers import Conv3x3, InstanceNorm, quicken, winograd


@pytest.mark.parametrize("shape", [(1, 5, 10, 14), (3, 4, 6, 6), (2, 2, 66, 66)])
def test_winograds_convolution_is_torchs_and_so_are_its_gradients(shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, shape[1], 3, 3, dtype=torch.float64, requires_grad=True)

    def first_and_second(convolve):
        y = convolve(x, weight)
        first = torch.autograd.grad(y.sin().sum(), (x, weight), create_graph=True)
        return [y, *first, *torch.autograd.grad(sum(gradient.square().sum() for gradient in first), (x, weight))]

    for ours, theirs in zip(first_and_second(winograd), first_and_second(nn.functional.conv2d), strict=True):
        assert torch.allclose(ours, theirs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("affine", [False, True])
def test_instance_normalisation_is_torchs_for_each_picture(memory_format, affine):
    torch.manual_seed(0)
    torchs = nn.InstanceNorm2d(3, affine=affine)
    for parameter in torchs.parameters():
        nn.init.normal_(parameter)
    ours = InstanceNorm(torchs)
    x = torch.randn(2, 3, 8, 12) * torch.tensor([1.0, 5.0])[:, None, None, None] + 2
    x = x.to(memory_format=memory_format).requires_grad_()
    ours_of_x, torchs_of_x = ours(x), torchs(x)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    assert torch.allclose(ours_of_x, torchs_of_x, atol=1e-5)
    gradients = [torch.autograd.grad(y.sin().sum(), x)[0] for y in (ours_of_x, torchs_of_x)]
    assert torch.allclose(*gradients, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (lambda: ResnetGenerator(32, 1), lambda: [torch.rand(1, 3, 64, 64)]),
        (lambda: ResnetGenerator(32, 1, padding="zero"), lambda: [torch.rand(1, 3, 72, 64)]),
        (lambda: Generator(64, 8, 128, 0, 64), lambda: [torch.rand(2, 3, 64, 64), torch.rand(2, 8)]),
        (lambda: Discriminator(64, 2, 128, 64), lambda: [torch.rand(2, 3, 64, 64), torch.tensor([0, 1])]),
    ],
    ids=["cyclegan", "zero padding", "stargan", "judge"],
)
def test_a_quickened_network_computes_the_same_with_the_same_parameters(network, inputs):
    torch.manual_seed(0)
    plain = network()
    quick = copy.deepcopy(plain)
    quicken(quick, convolutions=True)
    assert any(isinstance(module, Conv3x3) for module in quick.modules())
    assert list(quick.state_dict()) == list(plain.state_dict())
    x = inputs()
    with torch.no_grad():
        assert torch.allclose(quick(*x), plain(*x), atol=1e-4)


def test_in_bfloat16_the_convolutions_stay_torchs():
    network = ResnetGenerator(32, 1)
    quicken(network, convolutions=False)
    assert not any(isinstance(module, Conv3x3) for module in network.modules())
    assert any(isinstance(module, InstanceNorm) for module in network.modules())
