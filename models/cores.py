"""How many cores and how much memory this process may use: in a container often less than the machine has.

Standard library only.
"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cores() -> int:
    """The cores that this process may keep busy, at least 1.

    On Linux those of its affinity, but no more than its control groups (version 1 or 2) give it time for. A quota of
    one and a half cores counts as two, since a single thread could not use it up.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), cpu_quota())))


def core_limit() -> int | None:
    """:func:`usable_cores` if the machine has more, for libraries that count the machine's; None if not."""
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else None


def cpu_quota(root: Path = Path("/")) -> float:
    """The time that the control groups of this process give it, in cores; infinite without a limit.

    A group is limited by each group above it, too.

    Args:
        root: the folder that holds ``proc`` and the mount points of the control groups.
    """
    return min((_quota(folder) for folder in _folders(root, "cpu")), default=math.inf)


def usable_memory_bytes(root: Path = Path("/")) -> int:
    """The memory that this process may use: that of the machine, but no more than its control groups give it.

    Args:
        root: as of :func:`cpu_quota`.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, *(_memory_limit(folder, machine) for folder in _folders(root, "memory")), machine)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Of each control group of this process that may limit it, and of those above it as far as they can be seen.

    Args:
        controller: cpu or memory.

    Sources: cgroups(7); proc_pid_mountinfo(5).
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    groups: dict[str, PurePosixPath] = {}  # by the kind of file system that shows them
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups["cgroup2"] = PurePosixPath(path)
        elif controller in controllers.split(","):
            groups["cgroup"] = PurePosixPath(path)
    for line in mounts:
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        if kind not in groups or (kind == "cgroup" and controller not in options.split(",")):
            continue
        mounted, point = mount.split(" ")[3:5]
        group = groups[kind]
        # In a container the group's path may be the host's, of which only the mounted part can be seen.
        inside = group.relative_to(mounted) if group.is_relative_to(mounted) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for part in (inside, *inside.parents):
            yield root / point.lstrip("/") / part


def _quota(folder: Path) -> float:
    """Of one control group, in cores."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    except OSError:  # the root group has no quota
        return math.inf
    return math.inf if quota == "max" or int(quota) < 0 else int(quota) / int(period)


def _memory_limit(folder: Path, most: int) -> int:
    """Of one control group, in bytes; ``most`` if it has none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            return int((folder / name).read_text())
    return most
