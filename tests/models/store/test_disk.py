"""Free space is looked at before something large is written, and a ballast is dropped when there is none."""

import collections
import errno

import pytest

from models.store import disk
from models.store.archives import Limits
from models.store.disk import Ballast, require_free
from models.store.importing import import_archive
from tests.archives import unpaired, zipped

Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Called with a number of bytes, it has every disk say that so many are free."""
    return lambda nbytes: monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(0, 0, nbytes))


def test_room_is_asked_of_the_disk_that_a_folder_will_be_on(tmp_path, free):
    free(1000)
    require_free(tmp_path / "not" / "yet", 1000)
    with pytest.raises(OSError, match="are needed") as full:
        require_free(tmp_path, 1001)
    assert full.value.errno == errno.ENOSPC


def test_the_ballast_is_there_until_the_disk_is_full(tmp_path, free):
    path = tmp_path / "ballast"
    ballast = Ballast(path, 4096)
    free(1 << 20)
    ballast.adjust()
    assert path.stat().st_size == 4096
    free(3000)
    ballast.adjust()  # little is left, but it need not go yet
    assert path.exists()
    free(0)
    ballast.adjust()
    assert not path.exists()
    free(8192)
    ballast.adjust()  # it would take half of what is left
    assert not path.exists()


def test_an_archive_that_the_disk_has_no_room_for_is_not_unpacked(tmp_path, free):
    archive = tmp_path / "archive.zip"
    archive.write_bytes(zipped(unpaired()))
    free(100)
    with pytest.raises(OSError, match="are needed") as full:
        import_archive(
            archive, tmp_path / "set", tmp_path / "space", limits=Limits(1 << 20, 100, 1 << 20), max_pixels=10**6
        )
    assert full.value.errno == errno.ENOSPC
    assert not (tmp_path / "set").exists()
    assert not list((tmp_path / "space").iterdir())
