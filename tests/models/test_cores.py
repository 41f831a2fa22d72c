"""How many cores a process may use."""

import math
import os
import sys

import pytest

from models.cores import core_limit, cpu_quota, usable_cores, usable_memory_bytes
from models.device import serving_device

SECOND = "34 25 0:30 {root} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate"
FIRST = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct"
UNIFIED_BESIDE_FIRST = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
ANY = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"

# The process's groups, what is mounted, the files in the mounted folders, and the cores that these give it.
GROUPS = {
    "version 2 in a container": ("0::/", [SECOND.format(root="/")], {"cpu.max": "150000 100000"}, 1.5),
    "version 2 without a limit": ("0::/", [SECOND.format(root="/")], {"cpu.max": "max 100000"}, math.inf),
    "version 2 outside containers": ("0::/", [SECOND.format(root="/")], {}, math.inf),
    "version 2, by the groups above": (
        "0::/a/b/c",
        [SECOND.format(root="/")],
        {"a/cpu.max": "100000 50000", "a/b/cpu.max": "300000 100000", "a/b/c/cpu.max": "max 100000"},
        2,
    ),
    "version 2, entered from outside": ("0::/../x", [SECOND.format(root="/")], {"cpu.max": "50000 100000"}, 0.5),
    "version 1 in a container": (
        "9:pids:/docker/1f\n3:cpuacct,cpu:/docker/1f\n0::/docker/1f",
        [FIRST.format(root="/docker/1f"), UNIFIED_BESIDE_FIRST],
        {"cpu.cfs_quota_us": "250000", "cpu.cfs_period_us": "100000"},
        2.5,
    ),
    "version 1 without a limit": (
        "3:cpu,cpuacct:/",
        [FIRST.format(root="/")],
        {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
        math.inf,
    ),
    "no groups": ("", [], {}, math.inf),
}


@pytest.mark.parametrize("case", GROUPS)
def test_the_quota_of_the_control_groups_is_counted_in_cores(case, tmp_path):
    groups, mounts, files, cores = GROUPS[case]
    mount(tmp_path, groups, mounts, files)
    assert cpu_quota(tmp_path) == cores


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "limit_mb"),
    [
        ("0::/a/b", [SECOND.format(root="/")], {"a/memory.max": f"{64 << 20}", "a/b/memory.max": "max"}, 64),
        ("0::/a/b", [SECOND.format(root="/")], {"a/b/memory.max": "max"}, None),
        (
            "3:memory:/docker/1f",
            ["32 31 0:29 /docker/1f /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory"],
            {"memory.limit_in_bytes": f"{32 << 20}"},
            32,
        ),
        ("", [], {}, None),
    ],
)
def test_the_memory_of_a_process_is_that_of_its_control_groups_or_the_machines(
    groups, mounts, files, limit_mb, tmp_path
):
    mount(tmp_path, groups, mounts, files)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert usable_memory_bytes(tmp_path) == (machine if limit_mb is None else limit_mb << 20)


def mount(root, groups, mounts, files):
    """Write what a process sees of its control groups."""
    process = root / "proc" / "self"
    process.mkdir(parents=True)
    (process / "cgroup").write_text(f"{groups}\n".lstrip("\n"))
    (process / "mountinfo").write_text("".join(f"{line}\n" for line in [ANY, *mounts]))
    for name, content in files.items():
        file = root / mounts[0].split()[4].lstrip("/") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")


def test_without_proc_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path) == math.inf


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"), [(8, math.inf, 8), (8, 1.5, 2), (8, 0.2, 1), (2, 4, 2), (1, 0.5, 1)]
)
def test_a_process_may_use_the_cores_of_its_affinity_and_of_its_quota(affinity, quota, cores, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("models.cores.cpu_quota", lambda: quota)
    assert usable_cores() == cores
    assert core_limit() == (cores if cores < 8 else None)
    assert serving_device("cpu").threads == core_limit()
    assert serving_device("cpu", threads=3).threads == 3
