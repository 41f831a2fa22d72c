"""The machine that is measured."""

import platform
from pathlib import Path

from models.cores import usable_cores


def cpu() -> str:
    """The CPU's name and the number of its cores that this process may use."""
    return f"{_name()}, {usable_cores()} cores"


def _name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
