"""Memory that goes back to the system once large pictures are done with. Standard library only."""

import ctypes
import sys

LARGE_BYTES = 1 << 20  # blocks from this size on are the system's own, which it gets back when they are freed

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 16 << 20  # of free memory at the top of a heap, which is used again sooner than asked for again


def give_back_large_blocks() -> None:
    """Have this process's memory allocator give large blocks back.

    glibc takes the size of the largest block that was ever freed for an ordinary one, up to 32 MiB, and keeps smaller
    ones in a heap for each thread. Pictures are such blocks: after some large ones, a process that decodes in several
    threads holds gigabytes. Other allocators have no such setting, and are left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
