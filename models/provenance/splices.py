"""What signing has changed in a file, so that the same file can be signed again in the same way.

No two signatures are alike, for salts and times are in them. A file that is encoded anew for each request must be the
same each time all the same, or else a download that is resumed joins two files. A splice takes a few kilobytes.
"""

import bisect
import hashlib
import struct
from collections.abc import Callable

_HEADER = struct.Struct("<16sIIII")  # digest of the unsigned file; its part that stays; sizes of what is around it
_HEADS = (0, 12)  # a RIFF file's size stands in its first 12 bytes, which change when something is added at its end


def splice_of(unsigned: bytes, signed: bytes) -> bytes:
    """What makes ``signed`` of ``unsigned``: a beginning and an end around the longest part that stays in one piece."""
    tail = _longest(lambda n: unsigned[len(unsigned) - n :] == signed[len(signed) - n :], len(unsigned))
    options = [(len(unsigned) - tail, len(unsigned), signed[: len(signed) - tail], b"")]
    for at in _HEADS:
        same = _common_prefix(unsigned[at:], signed[at:])
        options.append((at, at + same, signed[:at], signed[at + same :]))
    start, end, head, rest = min(options, key=lambda option: len(option[2]) + len(option[3]))
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
    return _longest(lambda n: a[:n] == b[:n], min(len(a), len(b)))


def _longest(is_common: Callable[[int], bool], most: int) -> int:
    """The greatest length up to ``most`` that is common. All that are shorter are so too."""
    return bisect.bisect_left(range(1, most + 1), True, key=lambda n: not is_common(n))
