"""Pictures in Redis: raw pixels, in keys beside the job, whose JSON can hold no bytes."""

import struct

import numpy as np

from models.pictures import Picture

_HEADER = struct.Struct("<II")  # height, width


def input_key(job_id: str) -> str:
    return f"doppel:picture:{job_id}:in"


def output_key(job_id: str) -> str:
    return f"doppel:picture:{job_id}:out"


def history_key(job_id: str) -> str:
    """Where the credentials are that its first upload brought along."""
    return f"doppel:picture:{job_id}:history"


def splices_key(job_id: str, media_type: str) -> str:
    """Where it is kept what signing added to the result in this media type."""
    return f"doppel:picture:{job_id}:signed:{media_type}"


def pack(*pictures: Picture) -> bytes:
    """Pack pictures (H, W, 3), uint8 RGB: for each its height and width, then its rows."""
    parts: list[bytes | memoryview] = []
    for picture in pictures:
        parts += (_HEADER.pack(*picture.shape[:2]), np.ascontiguousarray(picture).data)
    return b"".join(parts)  # the only copy of pixels that lie in one piece


def unpack(data: bytes) -> list[Picture]:
    """Unpack what :func:`pack` made. The arrays are read-only and share the memory of ``data``.

    Raises:
        ValueError: ``data`` is not packed pictures.
    """
    pictures = []
    rest = memoryview(data)
    while rest:
        if len(rest) < _HEADER.size:
            raise ValueError(f"{len(rest)} bytes are not a picture")
        height, width = _HEADER.unpack_from(rest)
        if not height or not width:
            raise ValueError(f"a picture of {height} × {width} has no pixels")
        end = _HEADER.size + height * width * 3
        if len(rest) < end:
            raise ValueError(f"a picture of {height} × {width} was cut short")
        pictures.append(np.frombuffer(rest[_HEADER.size : end], np.uint8).reshape(height, width, 3))
        rest = rest[end:]
    return pictures
