"""Which files of a folder count as pictures."""

import os

import pytest

from app import translate_command
from app.settings import Settings
from models.errors import DatasetError
from models.pictures import SUFFIXES, list_pictures
from models.store.datasets import DatasetStore, contact_sheet, describe, domain_folders, fingerprint
from tests.pictures import decoded, encoded, landscape
from tests.training import add_dataset


def litter(folder):
    """Put beside pictures what systems and programs leave there, by names that pictures have."""
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(b"no picture")
    for name in (".thumbnails", "@eaDir", "__MACOSX", ".ipynb_checkpoints", "album.jpg"):
        (folder / name).mkdir()
    (folder / "dead.png").symlink_to(folder / "nowhere.png")


def test_what_lies_around_changes_nothing_about_a_data_set(tmp_path):
    root = add_dataset(tmp_path)
    before = describe(root), fingerprint(root), contact_sheet(root)
    for part in ("train", "val"):
        for folder in domain_folders(root, part).values():
            litter(folder)
        for name in (".cache", "@eaDir", "__MACOSX", ".ipynb_checkpoints"):
            (root / part / name).mkdir()
    assert list(domain_folders(root)) == ["blue", "red"]
    os.utime(root, (before[0].created_at.timestamp(),) * 2)
    assert (describe(root), fingerprint(root), contact_sheet(root)) == before
    assert DatasetStore(tmp_path).names() == ["colors"]


def test_a_link_to_a_picture_counts(tmp_path):
    (tmp_path / "elsewhere").write_bytes(encoded(landscape()))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.PNG").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in list_pictures(folder)] == ["link.PNG"]


def test_every_suffix_that_can_be_decoded_counts(tmp_path):
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix.upper()}").touch()
    assert len(list_pictures(tmp_path)) == len(SUFFIXES) >= 10
    with pytest.raises(DatasetError, match=r"\.tif"):
        describe(add_empty(tmp_path))


def add_empty(root):
    for domain in "AB":
        (root / f"train{domain}").mkdir()
    return root


@pytest.fixture
def settings(weights_dir, tmp_path):
    return Settings(weights_dir=weights_dir, data_dir=tmp_path / "var", device="cpu", offline=True)


def translate(settings, source, output):
    return translate_command.translate_files(settings, source, output, model="tiny", resolution=None)


def test_a_folder_is_translated_without_its_clutter(settings, tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    (source / "0.png").write_bytes(encoded(landscape()))
    litter(source)
    assert translate(settings, source, tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png.png"]
    assert decoded((tmp_path / "out" / "0.png.png").read_bytes()).shape == (64, 96, 3)
    said = capsys.readouterr().err
    assert "album.jpg" in said
    assert "notes.txt" in said
    assert ".DS_Store" not in said


@pytest.mark.parametrize("subfolder", [None, "deeper"])
def test_a_folder_without_pictures_is_an_error(settings, tmp_path, capsys, subfolder):
    source = tmp_path / "source"
    (source / (subfolder or "")).mkdir(parents=True)
    (source / ".DS_Store").touch()
    assert translate(settings, source, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "no pictures directly in it" in said
    assert (subfolder or "pictures") in said
    assert not (tmp_path / "out").exists()
