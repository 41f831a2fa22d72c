"""The memory that this process holds, for its reports."""

import os
import sys
from pathlib import Path


def resident_mb() -> int | None:
    """Resident memory in MiB; None where the system does not tell (it has no Linux /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def gpu_memory_mb(device: str) -> int | None:
    """GPU memory in MiB that torch has reserved in this process; None on another device than CUDA's."""
    torch = sys.modules.get("torch")  # never imported for this
    if torch is None or device.partition(":")[0] != "cuda":
        return None
    reserved: int = torch.cuda.memory_reserved(device)
    return reserved >> 20
