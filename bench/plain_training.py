"""A CycleGAN's training step as one would first write it: the peer of the trainer's."""

import torch
from torch import nn
from torch.nn import functional

from models.cyclegan import PatchDiscriminator, ResnetGenerator


class PlainStep:
    """The paper's step as one would first write it: all in float32, in PyTorch's usual memory layout, no pool."""

    def __init__(self, device: torch.device, ngf: int, n_blocks: int, ndf: int) -> None:
        self._device = device
        self._g_ab, self._g_ba = (ResnetGenerator(ngf, n_blocks).to(device) for _ in range(2))
        self._d_a, self._d_b = (PatchDiscriminator(ndf).to(device) for _ in range(2))
        self._optimizer_g = self._adam(self._g_ab, self._g_ba)
        self._optimizer_d = self._adam(self._d_a, self._d_b)

    @staticmethod
    def _adam(*networks: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam([p for n in networks for p in n.parameters()], lr=2e-4, betas=(0.5, 0.999))

    def __call__(self, real_a: torch.Tensor, real_b: torch.Tensor) -> float:
        """Train on (N, 3, S, S) pictures of each domain; the generators' loss, for a log."""
        real_a, real_b = real_a.to(self._device), real_b.to(self._device)
        fake_b, fake_a = self._g_ab(real_a), self._g_ba(real_b)
        loss = self._judged(self._d_b(fake_b), 1.0) + self._judged(self._d_a(fake_a), 1.0)
        for rebuilt, real in ((self._g_ba(fake_b), real_a), (self._g_ab(fake_a), real_b)):
            loss = loss + 10 * functional.l1_loss(rebuilt, real)
        for same, real in ((self._g_ab(real_b), real_b), (self._g_ba(real_a), real_a)):
            loss = loss + 5 * functional.l1_loss(same, real)
        self._optimizer_g.zero_grad()
        loss.backward()
        self._optimizer_g.step()
        self._optimizer_d.zero_grad()
        for judge, real, fake in ((self._d_b, real_b, fake_b), (self._d_a, real_a, fake_a)):
            (0.5 * (self._judged(judge(real), 1.0) + self._judged(judge(fake.detach()), 0.0))).backward()
        self._optimizer_d.step()
        return loss.item()

    @staticmethod
    def _judged(logits: torch.Tensor, wanted: float) -> torch.Tensor:
        return functional.mse_loss(logits, torch.full_like(logits, wanted))
