"""Pictures in Redis: raw pixels under a key of their own, since a job's JSON is no place for bytes."""

import struct

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB, 0 to 255

_HEADER = struct.Struct("<II")  # height, width


def input_key(job_id: str) -> str:
    return f"doppel:picture:{job_id}:in"


def output_key(job_id: str) -> str:
    return f"doppel:picture:{job_id}:out"


def pack(picture: Picture) -> bytes:
    """A picture (H, W, 3), uint8, as bytes: its height and width, then its rows."""
    height, width, _ = picture.shape
    return _HEADER.pack(height, width) + picture.tobytes()


def unpack(data: bytes) -> Picture:
    """Undo :func:`pack`; the array is read-only and shares the bytes' memory.

    Raises:
        ValueError: the bytes are not a packed picture.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are no picture")
    height, width = _HEADER.unpack_from(data)
    return np.frombuffer(data, np.uint8, offset=_HEADER.size).reshape(height, width, 3)
