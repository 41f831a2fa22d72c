"""Adam without torch's compiler, which takes longer to load than the rest of torch and which training never uses."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer

FUSED = {"cpu", "cuda"}  # devices on which torch takes the whole step in one pass


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` (Kingma and Ba, 2015, arXiv:1412.6980), number for number; fused where torch can.

    A state that is loaded keeps its own form, so that a run begun in the other one resumes exactly.

    Torch wraps these methods to hide them from the compiler, and a wrapper loads it when it is first called.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], **settings: Any) -> None:
        parameters = list(parameters)
        super().__init__(parameters, fused=all(parameter.device.type in FUSED for parameter in parameters), **settings)

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
