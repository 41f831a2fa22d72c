"""Which device a name means."""

import torch


def select_device(name: str) -> torch.device:
    """``auto`` takes the first accelerator and else the CPU; any other name is torch's own (``cuda:1``, ``mps``)."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
