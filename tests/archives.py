"""Zip archives for tests: good ones, and those that nobody should take."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.pictures import encoded, landscape


def colored(seed: int, size: tuple[int, int] = (40, 32)) -> bytes:
    """A JPEG of noise that no other seed has."""
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def unpaired(count: int = 3, top: str = "", held_out: int = 1) -> dict[str, bytes]:
    """Files of two domains, by name."""
    files = {}
    for place, domain in enumerate("AB"):
        for n in range(count):
            files[f"{top}train{domain}/{n}.jpg"] = colored(100 * place + n)
        for n in range(held_out):
            files[f"{top}test{domain}/{n}.jpg"] = colored(100 * place + 50 + n)
    return files


def slow(count: int = 300) -> bytes:
    """An archive whose import takes a while: the same large picture ``count`` times in each of two domains."""
    picture = colored(0, (600, 600))
    return zipped({f"train{domain}/{n}.jpg": picture for domain in "AB" for n in range(count)})


def domains(*names: str, count: int = 3) -> dict[str, bytes]:
    """Files of named domains, by name."""
    files = {}
    for place, domain in enumerate(names):
        for n in range(count):
            files[f"train/{domain}/{n}.jpg"] = colored(100 * place + n)
        files[f"val/{domain}/0.jpg"] = colored(100 * place + 50)
    return files


def _with_link() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in unpaired().items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("trainA/passwd.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return file.getvalue()


def _encrypted() -> bytes:
    data = bytearray(zipped(unpaired()))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            flags = struct.unpack_from("<H", data, start + offset)[0]
            struct.pack_into("<H", data, start + offset, flags | 1)
            start = data.find(mark, start + 4)
    return bytes(data)


def _lying_about_its_sizes() -> bytes:
    """Every file declares to be far longer than it is."""
    data = bytearray(zipped(unpaired()))
    start = data.find(b"PK\x01\x02")
    while start >= 0:
        struct.pack_into("<I", data, start + 24, 0x7FFFFFFF)
        start = data.find(b"PK\x01\x02", start + 4)
    return bytes(data)


def _of_a_later_version() -> bytes:
    """Its files ask for a version of zip that there is none of."""
    data = bytearray(zipped(unpaired()))
    start = data.find(b"PK\x01\x02")
    while start >= 0:
        data[start + 6] = 255
        start = data.find(b"PK\x01\x02", start + 4)
    return bytes(data)


def _damaged() -> bytes:
    """The stored bytes of every file are not those that its checksum is of."""
    return zipped(unpaired()).replace(b"\xff\xd8\xff", b"\xff\xd8\xfe")


GOOD = {
    "trainA and trainB": zipped(unpaired()),
    "a folder in a folder, beside a licence": zipped(unpaired(top="monet2photo/monet2photo/") | {"LICENSE": b"hello"}),
    "named domains": zipped(domains("cat", "dog", "wild")),
    "compressed": zipped(domains("cat", "dog"), zipfile.ZIP_DEFLATED),
    "with clutter": zipped(unpaired() | {"__MACOSX/trainA/._0.jpg": b"x", ".DS_Store": b"x", "README.md": b"hello"}),
    "with a file named .": zipped(unpaired() | {".": b"x"}),
}

BAD: dict[str, tuple[Callable[[], bytes], str]] = {  # what → (makes the archive, words of the answer)
    "nothing": (lambda: b"", "not a zip"),
    "text": (lambda: b"not an archive at all", "not a zip"),
    "a picture": (lambda: encoded(landscape()), "not a zip"),
    "cut short": (lambda: zipped(unpaired())[:-40], "not a zip"),
    "an empty zip": (lambda: zipped({}), "No layout"),
    "a climbing path": (lambda: zipped(unpaired() | {"../../evil.jpg": b"x"}), "outside itself"),
    "an absolute path": (lambda: zipped(unpaired() | {"/etc/cron.d/evil": b"x"}), "outside itself"),
    "a Windows path": (lambda: zipped(unpaired() | {"C:\\evil.jpg": b"x"}), "outside itself"),
    "a climbing Windows path": (lambda: zipped(unpaired() | {"trainA\\..\\..\\evil.jpg": b"x"}), "outside itself"),
    "a link": (_with_link, "link"),
    "encrypted": (_encrypted, "encrypted"),
    "bombs": (
        lambda: zipped({f"train{d}/{n}.jpg": bytes(64 << 20) for d in "AB" for n in range(3)}, zipfile.ZIP_DEFLATED),
        "may have",
    ),
    "lies about sizes": (_lying_about_its_sizes, "may have"),
    "damaged": (_damaged, "damaged"),
    "of a later version": (_of_a_later_version, "not a zip"),
    "too many files": (lambda: zipped({f"x/{n}": b"" for n in range(501)}), "501 files"),
    "no layout": (lambda: zipped({f"pictures/{n}.jpg": colored(n) for n in range(4)}), "It holds: 4 in 'pictures'"),
    "one domain": (lambda: zipped(domains("cat")), "No layout"),
    "only trainA": (lambda: zipped({f"trainA/{n}.jpg": colored(n) for n in range(4)}), "No layout"),
    "one picture in a domain": (
        lambda: zipped({k: v for k, v in unpaired().items() if k not in ("trainB/0.jpg", "trainB/1.jpg")}),
        "at least 2",
    ),
    "no picture in a domain": (
        lambda: zipped(unpaired() | {f"trainB/{n}.jpg": b"no picture" for n in range(3)}),
        "usable",
    ),
    "pictures too small": (
        lambda: zipped({f"train{d}/{n}.png": encoded(landscape(8, 8)) for d in "AB" for n in range(3)}),
        "16 at least",
    ),
    "both layouts": (lambda: zipped(unpaired() | domains("A", "B")), "one layout"),
}
