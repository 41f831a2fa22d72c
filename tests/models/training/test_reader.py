"""The pictures that a run is given: as the service shows them, without those that can't be read."""

import pytest
import torch

from app import images
from app.geometry import Geometry
from models import pixels
from models.errors import DatasetError
from models.store.archives import Limits
from models.store.importing import import_archive
from models.store.options import CycleGANOptions
from models.store.run_status import RunState, read_status
from models.training.attempt import attempt
from models.training.data import LabelledPictures, UnpairedPictures
from models.training.loader import batches
from tests.archives import zipped
from tests.models.training.runs import fingerprint, steps, train_here, write_run
from tests.odd_pictures import odd_pictures
from tests.training import CYCLEGAN, add_dataset

SIZE = 64  # px
LIMITS = Limits(total_bytes=1 << 30, files=1000, file_bytes=1 << 26)


def unpaired(root):
    return UnpairedPictures(root, load_size=SIZE, image_size=SIZE, seed=0)


def labelled(root):
    return LabelledPictures(root, img_size=SIZE, latent_dim=4, randcrop_prob=0, seed=0)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """The odd pictures as an operator's folder and as an upload: in both domains, as training and held-out pictures."""
    root = tmp_path_factory.mktemp("odd")
    parts = ("trainA", "trainB", "testA", "testB")
    files = {f"{part}/{name}": data for name, data in odd_pictures().items() for part in parts}
    folder = root / "folder"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (root / "archive.zip").write_bytes(zipped(files))
    import_archive(root / "archive.zip", root / "upload", root / "workspace", limits=LIMITS, max_pixels=1 << 24)
    return folder, root / "upload"


@pytest.mark.parametrize("place", [0, 1], ids=["folder", "upload"])
def test_training_sees_what_the_service_gives_the_network(odd, place):
    served = [
        images.prepare(data, Geometry(SIZE, "square"), max_pixels=1 << 24, max_output_pixels=1 << 24).picture
        for _, data in sorted(odd_pictures().items())
    ]
    expected = pixels.to_tensor(served)
    count = len(expected)
    assert count == 12
    for x in (*unpaired(odd[place]).held_out(count), *unpaired(odd[place]).fixed_inputs(count)):
        assert torch.equal(x, expected)
    assert all(torch.equal(x, expected) for x in labelled(odd[place]).held_out(count))
    drawn = [unpaired(odd[place])[n][0] for n in range(count)]  # a lap, each picture possibly mirrored
    for x in drawn:
        assert any(torch.equal(x, y) or torch.equal(x.flip(-1), y) for y in expected)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.fixture
def damaged(tmp_path):
    """A data set in which one picture of six has a sound header and damaged pixels, and another is none at all."""
    root = add_dataset(tmp_path)
    cut_short(root / "train" / "blue" / "2.png")
    (root / "train" / "red" / "4.png").write_bytes(b"no picture")
    return root


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("kind", [unpaired, labelled])
def test_damaged_pictures_are_passed_over_alike_wherever_a_run_resumes(damaged, kind, processes):
    whole = kind(damaged)
    uninterrupted = list(batches(whole, 2, 0, 8, processes=0))
    resumed = kind(damaged)
    assert set(resumed.reader.unreadable) == {"train/red/4.png"}  # known by its header, before the first step
    for expected, actual in zip(uninterrupted[5:], batches(resumed, 2, 5, 8, processes=processes), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(expected, actual, strict=True))
    assert set(whole.reader.unreadable) == {"train/red/4.png", "train/blue/2.png"}


def test_pictures_met_by_reading_processes_are_known_to_the_training(damaged):
    data = unpaired(damaged)
    list(batches(data, 1, 0, 6, processes=2))
    assert set(data.reader.unreadable) == {"train/red/4.png", "train/blue/2.png"}


def test_a_run_with_damaged_pictures_warns_and_resumes_exactly(damaged, tmp_path):
    options = CycleGANOptions(dataset=damaged, device="cpu", seed=1, **CYCLEGAN)
    finished = write_run(tmp_path / "finished", options)
    assert train_here(finished) is RunState.SUCCEEDED
    alarms = read_status(finished.path).alarms
    assert [(alarm.kind, alarm.subject) for alarm in alarms if alarm.kind == "unreadable picture"] == [
        ("unreadable picture", "train/red/4.png"),
        ("unreadable picture", "train/blue/2.png"),
    ]
    assert alarms[0].step == 0
    assert "is not a picture" in alarms[0].detail
    resumed = write_run(tmp_path / "resumed", options)
    stopped = attempt(resumed.path, on_progress=lambda *of: None, should_stop=lambda: len(steps(resumed)) == 7)
    assert stopped is RunState.STOPPED
    assert train_here(resumed) is RunState.SUCCEEDED
    assert fingerprint(resumed) == fingerprint(finished)
    assert [alarm.subject for alarm in read_status(resumed.path).alarms].count("train/red/4.png") == 1


def test_a_domain_without_a_readable_picture_ends_the_run_before_it_begins(tmp_path):
    root = add_dataset(tmp_path)
    for path in (root / "train" / "red").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"None of the pictures in red can be read\. train/red/0\.png is not"):
        unpaired(root)


def test_a_missing_file_is_named_and_not_passed_over(tmp_path):
    data = unpaired(add_dataset(tmp_path))
    (data.paths["A"][0]).unlink()
    with pytest.raises(DatasetError, match=r"train/blue/0\.png of the data set cannot be read"):
        [data[n] for n in range(6)]
