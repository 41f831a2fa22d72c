"""Select a device by name.

``python -m models.device NAME`` prints the memory of each GPU that a run on this device may use, in MiB, one per line.
"""

import sys

import torch

from models.errors import DeviceError


def select_device(name: str) -> torch.device:
    """``auto`` selects the first accelerator, or else the CPU; other names are torch's (``cuda:1``, ``mps``).

    Raises:
        DeviceError: torch does not know the device, or this machine does not have it.
    """
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
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def gpu_memory_mb(name: str) -> list[int]:
    """Memory in MiB of each GPU that ``name`` allows: the one it names, or all that this process can see."""
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
