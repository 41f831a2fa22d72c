"""Moving averages of the weights of networks that train."""

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, beta: float) -> None:
    """Move the average a step towards the network, in place: beta of it stays. Buffers are taken over as they are."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - beta)
    for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
