"""Adam without torch's compiler, which takes longer to load than the rest of torch and which training never uses."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer

FUSED = {"cpu", "cuda"}  # devices on which torch takes the whole step in one pass


_state_dict = inspect.unwrap(Optimizer.state_dict)
_load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` (Kingma and Ba, 2015, arXiv:1412.6980), number for number; fused where torch can.

    A state that is loaded keeps its own form, so that a run begun in the other one resumes exactly.

    Args:
        recorded: whether its steps are to be recorded. The learning rate is then on the device.

    Torch wraps these methods to hide them from the compiler, and a wrapper loads it when it is first called.
    """

    def __init__(
        self, parameters: Iterable[torch.Tensor], *, lr: float, recorded: bool = False, **settings: Any
    ) -> None:
        parameters = list(parameters)
        fused = all(parameter.device.type in FUSED for parameter in parameters)
        self._recorded = recorded and fused
        rate = torch.tensor(lr, device=parameters[0].device) if self._recorded else lr
        super().__init__(parameters, lr=rate, fused=fused, capturable=self._recorded, **settings)

    def set_rate(self, lr: float) -> None:
        """The learning rate from the next step on."""
        for group in self.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    @property
    def can_be_recorded(self) -> bool:
        """Whether it takes its steps without a look at what is on the device."""
        return all(group["capturable"] for group in self.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """The same whether or not it is recorded."""
        state: dict[str, Any] = _state_dict(self)
        for group in state["param_groups"]:
            group.update(lr=float(group["lr"]), capturable=False)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rates = [group["lr"] for group in self.param_groups]
        _load_state_dict(self, state)
        for group, rate in zip(self.param_groups, rates, strict=True):
            if self._recorded and group["fused"]:
                group.update(lr=rate.fill_(group["lr"]), capturable=True)

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
