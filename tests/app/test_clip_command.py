"""``doppel translate`` for clips, in this process."""

import numpy as np
import pytest

from app.style_options import StyleOptions
from app.translate_command import translate_files
from models.pictures.clips import Clip
from tests.clips import damaged, tiny_clip, window
from tests.pictures import landscape
from tests.processes import ROOT


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(tiny_clip(4, sound="aac"))
    return path


def test_a_clip_is_painted_in_the_style_of_a_picture(settings, clip, tmp_path):
    landscape().save(tmp_path / "painting.png")
    ours = settings.model_copy(update={"weights_dir": ROOT / "weights"})
    style = StyleOptions((tmp_path / "painting.png",))
    made = tmp_path / "made.mp4"
    assert translate_files(ours, clip, made, model="style-by-example", resolution=None, style=style) == 0
    film = Clip(made.read_bytes())
    assert (film.width, film.height, film.frame_count, film.sound) == (64, 48, 4, "aac")
    assert b"compositeWithTrainedAlgorithmicMedia" in made.read_bytes()
    assert np.abs(next(film.frames()).picture.astype(int) - window(0)).mean() > 20
    assert sorted(path.name for path in tmp_path.iterdir() if "made" in path.name) == ["made.mp4"]


def test_a_cyclegan_films_too(settings, clip, tmp_path):
    assert translate_files(settings, clip, tmp_path / "made.mp4", model="tiny", resolution=32) == 0
    film = Clip((tmp_path / "made.mp4").read_bytes())
    assert (film.width, film.height, film.frame_count) == (44, 32, 4)


@pytest.mark.parametrize(
    ("data", "name", "status", "why"),
    [
        (tiny_clip(), "made.png", 2, "name a file that ends in .mp4"),
        (b"no video", "made.mp4", 1, "The video is not a video in a known format. Accepted: MP4"),
        (damaged(tiny_clip(24)), "made.mp4", 1, "The video is damaged"),
    ],
    ids=["name", "no video", "damaged"],
)
def test_what_can_t_be_filmed_is_reported_and_leaves_nothing(settings, clip, tmp_path, capsys, data, name, status, why):
    clip.write_bytes(data)
    assert translate_files(settings, clip, tmp_path / name, model="tiny", resolution=None) == status
    assert why in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "made" in path.name]
