"""A file that travels where pictures do: as one row of pixels, its length in front."""

import struct

import numpy as np

from models.pictures import Picture

_LENGTH = struct.Struct("<I")
_PIXEL = 3  # bytes


def pack_file(data: bytes) -> Picture:
    """A file as a picture, (1, W, 3) uint8."""
    filled = -(_LENGTH.size + len(data)) % _PIXEL
    row = np.frombuffer(b"".join((_LENGTH.pack(len(data)), data, bytes(filled))), np.uint8)
    return row.reshape(1, -1, _PIXEL)


def unpack_file(picture: Picture) -> bytes:
    """The file in what :func:`pack_file` made."""
    row = picture.reshape(-1).data
    (length,) = _LENGTH.unpack_from(row)
    return bytes(row[_LENGTH.size : _LENGTH.size + length])
