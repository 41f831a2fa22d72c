"""The first directory of a TIFF (6.0, or BigTIFF), and of an EXIF block, which has the same form."""

import math
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 274
ICC_PROFILE = 34675
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_BYTES, _SAMPLE_FORMAT = 273, 277, 279, 339
_MIN_SAMPLE, _MAX_SAMPLE, _S_MIN_SAMPLE, _S_MAX_SAMPLE = 280, 281, 340, 341
_FLOAT = 3  # a sample format

# Tags without which the pixels can't be read: size, layout, compression and colour.
_STRUCTURAL = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _SAMPLES, _STRIP_BYTES, _SAMPLE_FORMAT}
    | {266, 278, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 347, 50674}
    | set(range(512, 522))
    | set(range(529, 533))
)
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q"}  # TIFF type → struct's
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BYTES = (1, 7)  # TIFF types


@dataclass(frozen=True)
class Levels:
    """What a TIFF says about its numbers."""

    bits: int = 8
    sample_format: int = 1  # 1: unsigned, 2: signed, 3: floating point
    white_is_zero: bool = False
    lowest: float | None = None  # the range that the samples have, if it is told
    highest: float | None = None


class _Entry(NamedTuple):
    raw: bytes
    type: int
    number: float | int | None  # its first number, if it has one
    place: slice  # of all its bytes in the file


MAX_ENTRIES = 0xFFFF  # that are looked at; BigTIFF allows any number


class Directory:
    """The first directory of ``data``.

    Raises:
        struct.error: there is none.
    """

    def __init__(self, data: bytes) -> None:
        if data[:4] not in MAGICS:
            raise struct.error("not a TIFF")
        self._data = data
        self._order = order = "<" if data[:2] == b"II" else ">"
        is_big = data[2:4] in (b"+\0", b"\0+")
        self._pointers, self._counts, size = (
            (f"{order}Q", f"{order}Q", 20) if is_big else (f"{order}I", f"{order}H", 12)
        )
        (offset,) = struct.unpack_from(self._pointers, data, 8 if is_big else 4)
        (count,) = struct.unpack_from(self._counts, data, offset)
        self._start = offset + struct.calcsize(self._counts)
        whole = min(count, (len(data) - self._start) // size, MAX_ENTRIES)
        self._entries: dict[int, _Entry] = {}  # by tag, in the order of the file
        for at in range(self._start, self._start + whole * size, size):
            (tag,) = struct.unpack_from(f"{order}H", data, at)
            self._entries.setdefault(tag, self._entry(at, size))

    def _entry(self, at: int, size: int) -> _Entry:
        data = self._data
        (kind,) = struct.unpack_from(f"{self._order}H", data, at + 2)
        (length,) = struct.unpack_from(self._pointers, data, at + 4)
        first = at + 4 + struct.calcsize(self._pointers)
        nbytes = _SIZES.get(kind, 0) * length
        if nbytes > struct.calcsize(self._pointers):
            (first,) = struct.unpack_from(self._pointers, data, first)
        number = None
        if length and kind in _NUMBERS and first + _SIZES[kind] <= len(data):
            (number,) = struct.unpack_from(self._order + _NUMBERS[kind], data, first)
        return _Entry(data[at : at + size], kind, number, slice(first, first + nbytes))

    def _number(self, *tags: int) -> float | int | None:
        """The first number of the first of these tags that has one."""
        numbers = (self._entries[tag].number for tag in tags if tag in self._entries)
        return next((one for one in numbers if one is not None and math.isfinite(one)), None)

    @property
    def orientation(self) -> int:
        """1 to 8; 1 if none is given that is defined."""
        found = self._number(ORIENTATION)
        return found if isinstance(found, int) and 1 <= found <= 8 else 1

    @property
    def levels(self) -> Levels:
        return Levels(
            bits=int(self._number(_BITS) or 1),
            sample_format=int(self._number(_SAMPLE_FORMAT) or 1),
            white_is_zero=self._number(_PHOTOMETRIC) == 0,
            lowest=self._number(_S_MIN_SAMPLE, _MIN_SAMPLE),
            highest=self._number(_S_MAX_SAMPLE, _MAX_SAMPLE),
        )

    def block(self, tag: int) -> bytes | None:
        """The bytes of a tag that holds bytes."""
        entry = self._entries.get(tag)
        return self._data[entry.place] if entry is not None and entry.type in _BYTES else None

    def alone(self) -> bytes:
        """The file with this directory alone, at the place where it was, and with its structural tags alone."""
        kept = [entry.raw for tag, entry in self._entries.items() if tag in _STRUCTURAL]
        shortened = b"".join(kept) + struct.pack(self._pointers, 0)  # no further directory
        file = bytearray(self._data)
        struct.pack_into(self._counts, file, self._start - struct.calcsize(self._counts), len(kept))
        file[self._start : self._start + len(shortened)] = shortened
        return bytes(file)

    def in_single_precision(self) -> bytes | None:
        """A TIFF of the same picture in floats of 32 bits, if it is one of 16 or 64 bits, as numpy's arrays often are.

        Decoders take no others. None: it is of another kind, compressed or in tiles.
        """
        bits, width, height = (int(self._number(tag) or 0) for tag in (_BITS, _WIDTH, _HEIGHT))
        kind = (self._number(_SAMPLE_FORMAT), self._number(_SAMPLES) or 1, self._number(_COMPRESSION) or 1)
        offsets, lengths = self._array(_STRIPS), self._array(_STRIP_BYTES)
        if kind != (_FLOAT, 1, 1) or bits not in (16, 64) or not 0 < sum(lengths) <= len(self._data):
            return None
        strips = b"".join(self._data[at : at + length] for at, length in zip(offsets, lengths, strict=False))
        numbers = np.frombuffer(strips[: len(strips) // (bits // 8) * (bits // 8)], f"{self._order}f{bits // 8}")
        with np.errstate(over="ignore"):
            pixels = numbers[: width * height].astype("<f4").tobytes()
        photometric = int(self._number(_PHOTOMETRIC) or 0)
        tags = {_WIDTH: width, _HEIGHT: height, _BITS: 32, _COMPRESSION: 1, _PHOTOMETRIC: photometric, _STRIPS: 8}
        tags |= {_SAMPLES: 1, 278: height, _STRIP_BYTES: len(pixels), _SAMPLE_FORMAT: _FLOAT}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
        return (
            struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
            + pixels
            + struct.pack("<H", len(tags))
            + entries
            + bytes(4)
        )

    def _array(self, tag: int) -> list[int]:
        """All whole numbers of a tag."""
        entry = self._entries.get(tag)
        if entry is None or _NUMBERS.get(entry.type) not in ("H", "I", "Q"):
            return []
        numbers = self._data[entry.place]
        size = _SIZES[entry.type]
        whole = numbers[: len(numbers) // size * size]
        return [number for (number,) in struct.iter_unpack(self._order + _NUMBERS[entry.type], whole)]
