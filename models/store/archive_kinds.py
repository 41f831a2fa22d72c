"""What a file is that was sent as a zip archive, but can't be read as one."""

import os
from typing import BinaryIO

_HEAD_BYTES = 512
_TAIL_BYTES = 22 + 0xFFFF  # the record at the end of a zip file, and the longest comment behind it
_END = b"PK\x05\x06"
_UNPACK = "unpack it, and send a zip of what is in it"

# Offset, the bytes there, and what the file is.
_SIGNATURES = (
    (0, b"Rar!\x1a\x07", f"it is a RAR archive; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"it is a 7z archive; {_UNPACK}"),
    (0, b"\x1f\x8b", f"it is a gzip file, such as a .tar.gz; {_UNPACK}"),
    (0, b"BZh", f"it is a bzip2 file, such as a .tar.bz2; {_UNPACK}"),
    (0, b"\xfd7zXZ\0", f"it is an xz file, such as a .tar.xz; {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"it is a Zstandard file; {_UNPACK}"),
    (257, b"ustar", f"it is a tar archive; {_UNPACK}"),
    (0, b"\xff\xd8\xff", "it is a JPEG picture"),
    (0, b"\x89PNG", "it is a PNG picture"),
    (8, b"WEBP", "it is a WebP picture"),
    (0, b"%PDF", "it is a PDF document"),
    (0, b"version https://git-lfs", "it is a pointer of Git LFS; fetch the file itself with: git lfs pull"),
    (0, b"PK\x07\x08", "it is one part of a split archive; join the parts first"),
    (0, b"PK\x03\x04", "its end is missing; it was cut short, or is one part of a split archive"),
)


def is_split(file: BinaryIO) -> bool:
    """Whether the file is the last part of a zip archive that was split into several."""
    end = _part(file, -_TAIL_BYTES, _TAIL_BYTES)
    record = end[end.rfind(_END) :]
    if not record.startswith(_END) or len(record) < 12:
        return False
    disk, first_disk, here, total = (int.from_bytes(record[at : at + 2], "little") for at in (4, 6, 8, 10))
    return 0xFFFF not in (disk, first_disk) and (disk, first_disk, here) != (0, 0, total)


def what_it_is(file: BinaryIO) -> str | None:
    """What the file is, as the end of a sentence ("it is a RAR archive; ..."); None if that is not known."""
    head = _part(file, 0, _HEAD_BYTES)
    if not head:
        return "it is empty"
    for offset, signature, words in _SIGNATURES:
        if head[offset:].startswith(signature):
            return words
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, perhaps of a failed download"
    if all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head):
        return "it is text"
    return None


def _part(file: BinaryIO, offset: int, size: int) -> bytes:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end + offset) if offset < 0 else offset)
    part = file.read(size)
    file.seek(0)
    return part
