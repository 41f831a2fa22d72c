"""Adam without torch's compiler, which takes longer to load than the rest of torch and which training never uses."""

import inspect

import torch
from torch.optim import Optimizer


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` (Kingma and Ba, 2015, arXiv:1412.6980), number for number.

    Torch wraps these methods to hide them from the compiler, and a wrapper loads it when it is first called.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
