"""What is taken of zip archives as the world's programs make them, and the reasons for what is not."""

import io
import struct
import tarfile
import unicodedata
import zipfile

import pytest
from PIL import Image

from models.errors import ArchiveError, DatasetError
from models.store.archives import Limits
from models.store.importing import import_archive
from tests.archives import colored, domains, unpaired, zipped
from tests.pictures import encoded

LIMITS = Limits(total_bytes=1 << 26, files=1000, file_bytes=1 << 24)
TWO = {"A": (3, 1), "B": (3, 1)}


def imported(tmp_path, archive, limits=LIMITS):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "archive.zip").write_bytes(archive)
    target = tmp_path / "pictures"
    return import_archive(tmp_path / "archive.zip", target, tmp_path / "work", limits=limits, max_pixels=10_000_000)


def counts(info):
    return {name: (domain.train, domain.held_out) for name, domain in info.domains.items()}


def reasons(info):
    return {left_out.file: left_out.why for left_out in info.rejected}


def with_raw_names(files):
    """A zip whose names are these bytes, without the flag that says UTF-8."""
    stand_ins = {f"{place:04}".ljust(len(name), "_"): name for place, name in enumerate(files)}
    archive = zipped(dict(zip(stand_ins, files.values(), strict=True)))
    for stand_in, name in stand_ins.items():
        archive = archive.replace(stand_in.encode(), name)
    return archive


def with_field(archive, name, *, local, central, value):
    """``archive`` with a 16-bit field of one file's two headers set, or of all files' for an empty ``name``."""
    data = bytearray(archive)
    for mark, header_bytes, field, length in ((b"PK\x03\x04", 30, local, 26), (b"PK\x01\x02", 46, central, 28)):
        start = data.find(mark)
        while start >= 0:
            name_bytes = struct.unpack_from("<H", data, start + length)[0]
            if not name or data[start + header_bytes : start + header_bytes + name_bytes] == name.encode():
                struct.pack_into("<H", data, start + field, value)
            start = data.find(mark, start + 4)
    return bytes(data)


def with_method(archive, method, name=""):
    return with_field(archive, name, local=8, central=10, value=method)


def encrypted(archive, name=""):
    return with_field(archive, name, local=6, central=8, value=1)


@pytest.mark.parametrize(
    "files",
    [
        {name.replace("/", "\\"): data for name, data in unpaired(top="monet/").items()},
        unpaired(top="monet/") | {"README.md": b"hello", "LICENSE": b"hello"},
        unpaired(top="monet/monet/"),
        unpaired(top="monet/") | unpaired(top="monet/monet/"),
        {name.replace("trainA", "TrainA").replace("testB", "TESTB"): data for name, data in unpaired().items()},
        {name.replace("trainB", "train/B"): data for name, data in unpaired().items()},
        {f"{name.partition('/')[0][:-1]}/{name}": data for name, data in unpaired().items()},  # train/trainA
    ],
    ids=["backslashes", "files beside", "twice", "and a copy", "case", "mixed", "train/trainA"],
)
def test_two_domains_are_found_however_they_are_laid(tmp_path, files):
    info = imported(tmp_path, zipped(files))
    assert (info.layout, counts(info)) == ("unpaired", TWO)


@pytest.mark.parametrize(
    "encode",
    [
        lambda name: name.encode(),
        lambda name: name.encode("cp437"),
        lambda name: unicodedata.normalize("NFD", name).encode(),
    ],
    ids=["UTF-8", "DOS", "Mac"],
)
def test_domains_are_what_clients_type(tmp_path, encode):
    files = domains("café", "größe")
    info = imported(tmp_path, with_raw_names({encode(name): data for name, data in files.items()}))
    assert list(info.domains) == ["café", "größe"]
    assert {path.name for path in (tmp_path / "pictures" / "train").iterdir()} == {"café", "größe"}


def test_two_data_sets_are_named(tmp_path):
    with pytest.raises(ArchiveError, match="in 'a' and 'b'; send one"):
        imported(tmp_path, zipped(unpaired(top="a/") | unpaired(top="b/", count=4)))


def test_a_picture_is_one_by_its_place_and_content(tmp_path):
    files = {"trainA/a.jfif": colored(1), "trainA/b": colored(2), "trainA/c.TIFF": b"no picture", "trainA/d.txt": b"x"}
    info = imported(tmp_path, zipped(unpaired() | files | {"val/cat/0.jpg": colored(3)}))
    assert counts(info)["A"] == (5, 1)
    why = reasons(info)
    assert "picture" in why.pop("trainA/c.TIFF")  # its content was looked at
    assert why == {
        "trainA/d.txt": "has no picture's suffix but .txt",
        "val/cat/0.jpg": "is of the domain 'cat', which has no pictures to train with",
    }


@pytest.mark.parametrize(
    ("spoil", "word"), [(lambda archive, name="": with_method(archive, 9, name), "Deflate64"), (encrypted, "encrypted")]
)
def test_what_can_not_be_unpacked_is_left_out_and_says_why(tmp_path, spoil, word):
    info = imported(tmp_path, spoil(zipped(unpaired(count=4)), "trainA/3.jpg"))
    assert counts(info) == {"A": (3, 1), "B": (4, 1)}
    assert word in reasons(info)["trainA/3.jpg"]
    assert "damaged" not in reasons(info)["trainA/3.jpg"]
    with pytest.raises((ArchiveError, DatasetError), match=word):
        imported(tmp_path / "all", spoil(zipped(unpaired())))


def test_a_picture_of_one_colour_is_taken_however_small_it_was_packed(tmp_path):
    black = encoded(Image.new("RGB", (2000, 1500)), "BMP")
    archive = zipped(unpaired() | {"trainA/black.bmp": black}, zipfile.ZIP_DEFLATED)
    assert len(archive) < len(black) / 200
    assert counts(imported(tmp_path, archive))["A"] == (4, 1)


def test_a_file_larger_than_a_picture_may_be_is_not_unpacked(tmp_path):
    bomb = {"trainA/bomb.jpg": bytes(LIMITS.file_bytes + 1)}
    info = imported(tmp_path, zipped(unpaired() | bomb, zipfile.ZIP_DEFLATED))
    assert counts(info) == TWO
    assert reasons(info) == {"trainA/bomb.jpg": "has 16,777,217 bytes; a picture may have 16,777,216"}


def test_many_bombs_are_refused_before_one_is_unpacked(tmp_path):
    bombs = {f"trainA/{n}.jpg": bytes(LIMITS.file_bytes) for n in range(5)}
    with pytest.raises(ArchiveError, match="would come to 80 MiB; at most 64 MiB"):
        imported(tmp_path, zipped(unpaired() | bombs, zipfile.ZIP_DEFLATED))
    assert not list((tmp_path / "work").iterdir())


def test_files_that_share_their_bytes_are_refused(tmp_path):
    """A bomb without compression: each entry of the directory unpacks the same bytes once more."""
    archive = bytearray(zipped(unpaired()))
    offsets = []
    start = archive.find(b"PK\x01\x02")
    while start >= 0:
        offsets.append(start + 42)
        start = archive.find(b"PK\x01\x02", start + 4)
    archive[offsets[1] : offsets[1] + 4] = archive[offsets[0] : offsets[0] + 4]
    with pytest.raises(ArchiveError, match="share their bytes"):
        imported(tmp_path, bytes(archive))


def tar(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("trainA/0.jpg"))
    return file.getvalue()


WHOLE = zipped(unpaired())
LAST_PART = WHOLE[-500:-22] + WHOLE[-22:-18] + b"\1" + WHOLE[-17:]  # it is on the second disk


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (tar("w"), "is a tar archive"),
        (tar("w:gz"), "is a gzip file"),
        (b"Rar!\x1a\x07\x01\0" + bytes(64), "is a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(64), "is a 7z archive"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (WHOLE[:-40], "cut short"),
        (LAST_PART, "split"),
        (b"PK\x07\x08" + WHOLE[:500], "split"),
        (zipped({"monet2photo.zip": WHOLE}), "another archive, 'monet2photo.zip'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_such_archive_is_called_what_it_is(tmp_path, data, words):
    with pytest.raises(ArchiveError, match=words):
        imported(tmp_path, data)
