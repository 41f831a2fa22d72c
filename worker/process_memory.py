"""The memory that this process holds, for its reports."""

import os
import resource
import sys
from pathlib import Path

from models.cores import usable_memory_bytes

MEMORY_SHARE = 0.8  # of the machine's or the container's, for workers that are not told how much they may have
LEAST_MB = 512  # with less, no worker starts


def resident_mb() -> int | None:
    """Resident memory in MiB; None where the system does not tell (it has no Linux /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def worker_memory_mb(workers: int) -> int:
    """How much each of so many workers on this machine may have, in MiB, if nobody says."""
    return max(LEAST_MB, int(MEMORY_SHARE * usable_memory_bytes() / workers) >> 20)


def limit_memory(mb: int) -> None:
    """Let this process's allocations fail, as in full memory, once it has this many MiB.

    What counts is what it may write to (RLIMIT_DATA). Address space that is only reserved, of which engines take many
    times as much, does not.
    """
    if sys.platform == "linux":  # elsewhere the limit counts something else
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = mb << 20 if most == resource.RLIM_INFINITY else min(mb << 20, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def gpu_memory_mb(device: str) -> int | None:
    """GPU memory in MiB that torch has reserved in this process; None on another device than CUDA's."""
    torch = sys.modules.get("torch")  # never imported for this
    if torch is None or device.partition(":")[0] != "cuda":
        return None
    reserved: int = torch.cuda.memory_reserved(device)
    return reserved >> 20
