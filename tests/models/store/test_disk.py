"""Free space is looked at before something large is written, and a ballast is dropped when there is none."""

import collections
import errno

import pytest

from models.errors import StoreFull
from models.store import disk
from models.store.archives import Limits
from models.store.disk import Ballast, Room, require_free
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


def test_data_sets_runs_and_models_together_have_a_quota(tmp_path, free):
    free(10 << 20)
    for name, nbytes in [("datasets/a/trainA/1.png", 300), ("runs/r/checkpoints/1.pt", 400), ("models/m/w", 200)]:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(nbytes))
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "file").write_bytes(bytes(5000))  # the queue's, which has a bound of its own
    room = Room(tmp_path, reserved_bytes=1000, most_bytes=1000)
    assert room.left() == 100
    room.require(100)
    with pytest.raises(StoreFull, match="DOPPEL_MAX_STORE_MB"):
        room.require(101)
    assert Room(tmp_path, reserved_bytes=1000).left() == (10 << 20) - 1000
    with pytest.raises(OSError, match="are needed"):
        Room(tmp_path, reserved_bytes=10 << 20).require(1)


def test_an_archive_beyond_the_quota_is_not_unpacked(tmp_path):
    archive = tmp_path / "archive.zip"
    archive.write_bytes(zipped(unpaired()))
    with pytest.raises(StoreFull):
        import_archive(
            archive,
            tmp_path / "datasets" / "set",
            tmp_path / "space",
            limits=Limits(1 << 20, 100, 1 << 20),
            max_pixels=10**6,
            room=Room(tmp_path, most_bytes=100),
        )
    assert not (tmp_path / "datasets").exists()
