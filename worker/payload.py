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


def pack(*pictures: Picture) -> bytes:
    """Pictures (H, W, 3), uint8, as bytes: of each its height and width, then its rows."""
    return b"".join(part for picture in pictures for part in (_HEADER.pack(*picture.shape[:2]), picture.tobytes()))


def unpack(data: bytes) -> list[Picture]:
    """Undo :func:`pack`; the arrays are read-only and share the bytes' memory.

    Raises:
        ValueError: the bytes are not packed pictures.
    """
    pictures = []
    rest = memoryview(data)
    while rest:
        if len(rest) < _HEADER.size:
            raise ValueError(f"{len(rest)} bytes are no picture")
        height, width = _HEADER.unpack_from(rest)
        end = _HEADER.size + height * width * 3
        if len(rest) < end:
            raise ValueError(f"a picture of {height} × {width} was cut short")
        pictures.append(np.frombuffer(rest[_HEADER.size : end], np.uint8).reshape(height, width, 3))
        rest = rest[end:]
    return pictures
