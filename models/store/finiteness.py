"""Whether a safetensors file holds finite numbers alone, for processes without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np

MAX_HEADER_BYTES = 100 << 20  # as the format has it

_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


def all_finite(path: Path) -> bool:
    """Read each tensor of float16, float32 or float64 once; False if one holds NaN or infinity.

    The file must be one that this software wrote: of the header only its length is doubted.

    Raises:
        ValueError: it is not a safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is not a safetensors file")
        header = json.loads(file.read(length))
    start = 8 + length
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _DTYPES:
            continue
        first, end = entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
        numbers = np.fromfile(path, dtype, count=(end - first) // dtype.itemsize, offset=start + first)
        if not np.isfinite(numbers).all():
            return False
    return True
