"""``doppel translate`` over a folder: pictures are read and written beside the network, and said in order."""

import numpy as np
import pytest

from app import images, translate_command
from app.settings import Settings
from tests.pictures import decoded, encoded, landscape

NAMES = [f"{n:02}.png" for n in range(30)]
WAITING = 2 * translate_command.MAX_THREADS  # more pictures than may be in memory before or after the network


@pytest.fixture
def settings(weights_dir, tmp_path):
    return Settings(weights_dir=weights_dir, data_dir=tmp_path / "var", device="cpu", offline=True)


@pytest.fixture
def source(tmp_path):
    """A folder of pictures, each a little lighter than the one before."""
    folder = tmp_path / "source"
    folder.mkdir()
    for n, name in enumerate(NAMES):
        (folder / name).write_bytes(encoded(landscape(40, 32).point(lambda level, n=n: min(255, level + n))))
    return folder


def translate(settings, source, monkeypatch, network):
    """Translate the folder by a network of the test's own: one picture to another."""

    class Translator:
        def __init__(self, *args):
            pass

        def __call__(self, pictures):
            return [network(picture) for picture in pictures]

    monkeypatch.setattr(translate_command, "Translator", Translator)
    return translate_command.translate_files(settings, source, source.parent / "out", model="tiny", resolution=None)


def inverse(picture):
    return 255 - picture


def test_each_picture_is_written_and_failures_are_said_in_order(settings, source, monkeypatch, capsys):
    (source / NAMES[3]).write_bytes(b"no picture")
    (source.parent / "out" / f"{NAMES[7]}.png").mkdir(parents=True)  # where a file is to be written
    (source / NAMES[8]).write_bytes(b"")
    assert translate(settings, source, monkeypatch, inverse) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("doppel:")]
    assert [line.split(": ")[1] for line in said] == [str(source / NAMES[n]) for n in (3, 7, 8)]
    for n, name in enumerate(NAMES):
        written = source.parent / "out" / f"{name}.png"
        if n not in (3, 7, 8):
            assert (decoded(written.read_bytes()) == 255 - decoded((source / name).read_bytes())).all(), name
        else:
            assert not written.is_file()


def test_few_pictures_are_in_memory(settings, source, monkeypatch):
    read, taken, lead = [], [], []
    prepare = images.prepare

    def counted(*args, **kwargs):
        read.append(1)
        return prepare(*args, **kwargs)

    def network(picture):
        taken.append(1)
        lead.append(len(read) - len(taken))
        return inverse(picture)

    monkeypatch.setattr(images, "prepare", counted)
    assert translate(settings, source, monkeypatch, network) == 0
    assert len(read) == len(taken) == len(NAMES)
    assert max(lead) < WAITING < len(NAMES)


def test_ctrl_c_leaves_whole_files_alone(settings, source, monkeypatch):
    taken = []

    def network(picture):
        if len(taken) == 5:
            raise KeyboardInterrupt
        taken.append(np.array(picture))
        return inverse(picture)

    with pytest.raises(KeyboardInterrupt):
        translate(settings, source, monkeypatch, network)
    written = sorted((source.parent / "out").iterdir())
    assert [path.name for path in written] == [f"{name}.png" for name in NAMES[: len(written)]]
    assert len(written) <= 5
    for path, before in zip(written, taken, strict=False):
        assert (decoded(path.read_bytes()) == 255 - before[:32, :40]).all()


def test_a_picture_that_is_too_large_for_the_model_is_translated_in_tiles(settings, source):
    made = []
    for number, limit in enumerate((10_000, 1_000)):  # px; the pictures have 1,280
        target = source.parent / f"{number}.png"
        limited = settings.model_copy(update={"max_output_pixels": limit})
        path = source / NAMES[0]
        assert translate_command.translate_files(limited, path, target, model="tiny", resolution="native") == 0
        made.append(decoded(target.read_bytes()).astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1
