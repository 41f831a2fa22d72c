"""Select a device by name. Training needs torch; a worker on a CPU does not, so torch is loaded when it is needed.

``python -m models.device NAME`` prints the memory of each GPU that a run on this device may use, in MiB, one per line.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.cores import core_limit
from models.errors import DeviceError

if TYPE_CHECKING:
    import torch

# Of NVIDIA's driver, AMD's, and Windows' for either. Where none is there, torch finds no accelerator on Linux.
_ACCELERATORS = ("nvidia*", "kfd", "dxg")


@dataclass(frozen=True)
class ServingDevice:
    """Where a model that is served computes."""

    name: str  # as torch names it
    threads: int | None = None  # of a CPU; None: one for each core of the machine

    @property
    def is_cpu(self) -> bool:
        return self.name == "cpu"

    @property
    def is_cuda(self) -> bool:
        return self.name.partition(":")[0] == "cuda"

    def is_usable(self) -> bool:
        """False once it has failed for good. After some errors of a GPU every later call in the process fails, too."""
        if not self.is_cuda:
            return True
        import torch

        try:
            torch.cuda.synchronize(self.name)
        except RuntimeError:
            return False
        return True


def serving_device(name: str, *, threads: int | None = None) -> ServingDevice:
    """:func:`select_device`, without torch where that is sure to end on the CPU.

    Args:
        threads: of a CPU; None: as many as this process has cores.

    Raises:
        DeviceError: this machine does not have the device, or torch, which computes there, is not installed.
    """
    if name == "auto" and (not may_have_accelerator() or importlib.util.find_spec("torch") is None):
        name = "cpu"
    if name != "cpu":
        try:
            name = str(select_device(name))
        except ModuleNotFoundError as error:
            raise DeviceError(f"the device {name!r} needs {error.name}: pip install 'doppel[worker]'") from error
    return ServingDevice(name, threads or core_limit())


def may_have_accelerator() -> bool:
    """False if torch is sure to find none, by the devices of the system alone."""
    return sys.platform != "linux" or any(next(Path("/dev").glob(name), None) for name in _ACCELERATORS)


def select_device(name: str) -> torch.device:
    """``auto`` selects the first accelerator, or else the CPU; other names are torch's (``cuda:1``, ``mps``).

    Raises:
        DeviceError: torch does not know the device, or this machine does not have it.
    """
    import torch

    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise DeviceError(f"the device {name!r} cannot be used here: {reason}") from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions. Without them bfloat16 is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def gpu_memory_mb(name: str) -> list[int]:
    """Memory in MiB of each GPU that ``name`` allows: the one it names, or all that this process can see."""
    import torch

    device = select_device(name)
    if device.type != "cuda":
        return []
    numbers = range(torch.cuda.device_count()) if device.index is None else [device.index]
    return [torch.cuda.get_device_properties(number).total_memory >> 20 for number in numbers]


if __name__ == "__main__":
    try:
        print(*gpu_memory_mb(sys.argv[1]), sep="\n")
    except DeviceError as error:
        sys.exit(f"doppel: {error}")
