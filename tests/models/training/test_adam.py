"""Adam is torch's, number for number."""

import copy

import torch

from models.training.adam import Adam

SETTINGS = {"lr": 1e-2, "betas": (0.5, 0.9), "weight_decay": 1e-2}


def trained(network, optimizer, steps):
    """The network after some steps on the same pictures."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    return network


def test_steps_and_states_are_those_of_torch():
    torch.manual_seed(0)
    ours = torch.nn.Linear(4, 3)
    theirs = copy.deepcopy(ours)
    adam, torchs = Adam(ours.parameters(), **SETTINGS), torch.optim.Adam(theirs.parameters(), fused=True, **SETTINGS)
    trained(ours, adam, 3)
    trained(theirs, torchs, 3)
    assert torch.equal(ours.weight, theirs.weight)
    exchanged = copy.deepcopy(torchs.state_dict()), copy.deepcopy(adam.state_dict())
    adam.load_state_dict(exchanged[0])
    torchs.load_state_dict(exchanged[1])
    assert torch.equal(trained(ours, adam, 2).weight, trained(theirs, torchs, 2).weight)


def test_a_step_leaves_no_graph_behind():
    network = torch.nn.Linear(4, 3)
    trained(network, Adam(network.parameters(), **SETTINGS), 1)
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in network.parameters())
