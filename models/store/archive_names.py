"""The names of an archive's files, as whoever made the archive saw them, and which of them lead outside it."""

import struct
import unicodedata
import zipfile
import zlib
from pathlib import PurePosixPath

_IS_UTF_8 = 0x800  # flag of an entry
_UNICODE_PATH = 0x7075  # an extra field of Info-ZIP: the name in UTF-8, for tools that know it


def path_of(info: zipfile.ZipInfo) -> str:
    """The path of a file in its archive: folders separated by ``/``, in Unicode's composed form (NFC).

    Windows tools have written backslashes, and others UTF-8 without its flag. Macs decompose accented letters (NFD),
    which nobody types that way. Names that are not UTF-8 are taken as code page 437, as the format says.
    """
    name = info.orig_filename.partition("\0")[0]
    if not info.flag_bits & _IS_UTF_8:
        raw = name.encode("cp437")  # zipfile has decoded it from that
        name = _unicode_path(info, raw) or _decoded(raw)
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def leads_outside(path: str) -> bool:
    """Whether a path with ``/`` between its parts is absolute, names a drive, or climbs."""
    parts = PurePosixPath(path).parts
    return ".." in parts or (bool(parts) and (parts[0] == "/" or parts[0].endswith(":")))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _unicode_path(info: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The name in the extra field for it; None if there is none, or it is of another name than ``raw``."""
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5:
            version, checksum = struct.unpack_from("<BL", field)
            if version == 1 and checksum == zlib.crc32(raw):
                try:
                    return field[5:].decode()
                except UnicodeDecodeError:
                    return None
    return None
