"""The history of generated pictures that the discriminators see (section 7.1, after Shrivastava et al.)."""

from typing import Any

import torch


class ImagePool:
    """Keeps up to ``size`` generated pictures and answers half of the queries with an old one.

    It has its own random generator, so that a resumed run draws what an uninterrupted one would have drawn.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._pictures: list[torch.Tensor] = []
        self._random = torch.Generator().manual_seed(seed)

    def query(self, fakes: torch.Tensor) -> torch.Tensor:
        """Exchange (N, 3, H, W) new pictures for a batch of the same shape, each new or from the pool."""
        if self.size == 0:
            return fakes
        answer = []
        for fake in fakes:
            if len(self._pictures) < self.size:
                self._pictures.append(fake.clone())
                answer.append(fake)
            elif torch.rand((), generator=self._random) < 0.5:
                slot = int(torch.randint(self.size, (), generator=self._random))
                answer.append(self._pictures[slot].to(fake.device))  # a resumed run loads the pool onto the CPU
                self._pictures[slot] = fake.clone()  # a view would keep the whole batch alive
            else:
                answer.append(fake)
        return torch.stack(answer)

    def state_dict(self) -> dict[str, Any]:
        return {"pictures": list(self._pictures), "random": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._pictures = list(state["pictures"])
        self._random.set_state(state["random"].cpu())
