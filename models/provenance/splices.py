"""What signing has changed in a file, so that the same file can be signed again in the same way.

No two signatures are alike, for salts and times are in them. A file that is encoded anew for each request must be the
same each time all the same, or else a download that is resumed joins two files. A splice takes a few kilobytes.
"""

import hashlib
import struct

import numpy as np

_HEADER = struct.Struct("<16sIIII")  # digest of the unsigned file; its part that stays; sizes of what is around it
_RIFF_HEAD = 12  # bytes, in which the file's size changes when something is added at the end


def splice_of(unsigned: bytes, signed: bytes) -> bytes:
    """What makes ``signed`` of ``unsigned``: a beginning and an end around the longest part that stays in one piece."""
    tail = _common_prefix(unsigned[::-1], signed[::-1])
    at_end = len(unsigned) - tail, len(unsigned), signed[: len(signed) - tail], b""
    stays = _RIFF_HEAD + _common_prefix(unsigned[_RIFF_HEAD:], signed[_RIFF_HEAD:])
    at_start = _RIFF_HEAD, stays, signed[:_RIFF_HEAD], signed[stays:]
    start, end, head, rest = min(at_end, at_start, key=lambda option: len(option[2]) + len(option[3]))
    return _HEADER.pack(_digest(unsigned), start, end, len(head), len(rest)) + head + rest


def spliced(unsigned: bytes, splice: bytes) -> bytes | None:
    """The signed file; None if the splice is not of this file."""
    digest, start, end, head, rest = _HEADER.unpack_from(splice)
    if digest != _digest(unsigned):
        return None
    at = _HEADER.size
    return splice[at : at + head] + unsigned[start:end] + splice[at + head : at + head + rest]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _common_prefix(a: bytes, b: bytes) -> int:
    """The length of the longest beginning that both have."""
    most = min(len(a), len(b))
    if not most:
        return 0
    differs = np.frombuffer(a, np.uint8, most) != np.frombuffer(b, np.uint8, most)
    first = int(differs.argmax())
    return first if differs[first] else most
