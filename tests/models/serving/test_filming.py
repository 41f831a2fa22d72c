"""Filming: strokes stay on what they paint, statistics run on, and both engines paint the same."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from models.device import ServingDevice
from models.errors import NotFinite
from models.pictures.clips import Clip
from models.serving.filming import film
from models.serving.openvino_painter import OpenVINOPainter
from models.serving.steadying import MotionMeter, Steady
from models.store.catalog import Catalog
from tests.clips import tiny_clip, window
from tests.processes import ROOT

SIZE = (96, 64)


@pytest.fixture(scope="module")
def model():
    return Catalog(Path(ROOT) / "weights", Path("nowhere")).get("style-by-example")


def scene(down, right):
    """What a camera sees that has moved so far over smooth noise; fractions of a pixel are exact."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    y, x = y + down, x + right
    waves = np.random.default_rng(3).uniform(-0.5, 0.5, (24, 2))
    phases = np.random.default_rng(4).uniform(0, 6, (24, 3))
    levels = sum(np.cos(y * a + x * b)[..., None] * np.cos(p) for (a, b), p in zip(waves, phases, strict=True))
    return np.clip(128 + 20 * levels, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("down", "right"), [(0, 1), (2, -3), (0.5, 0.25), (-1.3, 2.6)])
def test_motion_is_measured_to_fractions_of_a_pixel(down, right):
    meter = MotionMeter()
    assert meter(scene(0, 0)).is_cut
    motion = meter(scene(down, right))
    # What the camera passes moves the other way.
    assert (motion.down, motion.right) == pytest.approx((-down, -right), abs=0.15)
    assert not motion.is_cut


def test_another_scene_is_a_cut():
    meter = MotionMeter()
    shares = []
    steady = Steady(lambda frame, share: shares.append(share) or frame)
    for frame in (scene(0, 0), scene(0, 1), 255 - scene(0, 1), 255 - scene(0, 2)):
        meter(frame)
        steady(frame)
    assert [share == 1 for share in shares] == [True, False, True, False]


def test_a_picture_that_moves_is_painted_the_same_whatever_its_place_on_the_grid():
    def by_fours(frame, share):
        """Paints by the place in each 4 × 4: nothing could flicker more."""
        return frame // 2 + np.tile(
            np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 8, (frame.shape[0] // 4, frame.shape[1] // 4, 1)
        )

    steady = Steady(by_fours)
    painted = [steady(scene(0, n)).astype(int) for n in range(6)]
    plain = [by_fours(scene(0, n), 1).astype(int) for n in range(6)]
    inside = np.s_[16:-16, 16:-16]

    def flicker(frames):
        return np.mean([np.abs(a[:, 1:][inside] - b[:, :-1][inside]).mean() for a, b in itertools.pairwise(frames)])

    assert flicker(painted) < flicker(plain) / 3


def test_running_statistics_are_the_frame_s_own_where_nothing_came_before(model):
    painter = OpenVINOPainter(model, ServingDevice("cpu"))
    code = np.linspace(-1, 1, 100, dtype=np.float32)
    frame = scene(0, 0)[np.newaxis]
    own, _ = painter.paint(frame, code[np.newaxis])
    paint = painter.filming(code)
    first, finite = paint(frame, 1.0)
    assert finite
    assert np.abs(first.astype(int) - own).max() <= 1
    again, _ = paint(frame, 0.3)  # of the same frame, so that nothing changes
    assert np.abs(again.astype(int) - own).max() <= 1


def test_engines_run_on_alike(model):
    from models.serving.torch_painter import TorchPainter

    code = np.linspace(-1, 1, 100, dtype=np.float32)
    paints = [kind(model, ServingDevice("cpu")).filming(code) for kind in (OpenVINOPainter, TorchPainter)]
    for frame, share in ((scene(0, 0), 1.0), (scene(0, 0) // 2, 0.3), (scene(5, 5), 0.0)):
        pictures = [paint(frame[np.newaxis], share)[0].astype(int) for paint in paints]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1


def unchanged(first):
    """How each frame is painted of a clip that begins with ``first``: not at all."""
    return lambda frame, share: frame


def test_a_clip_is_filmed_frame_by_frame(tmp_path):
    begun, done = [], []

    def begin(first):
        begun.append(first)
        return lambda frame, share: 255 - frame

    clip = Clip(tiny_clip(sound="aac"))
    for share in film(clip, tmp_path / "made.mp4", begin=begin, size=(64, 48), out_size=(32, 24)):
        done.append(share)
    assert len(begun) == 1
    assert done == sorted(done)
    assert (len(done), done[-1]) == (9, 1)
    made = Clip((tmp_path / "made.mp4").read_bytes())
    assert (made.width, made.height, made.frame_count, made.sound) == (32, 24, 8, "aac")
    middle = list(made.frames())[4].picture.astype(int)
    assert np.abs(middle - (255 - window(4)[::2, ::2])).mean() < np.abs(middle - window(4)[::2, ::2]).mean() / 3


def test_a_clip_that_is_filmed_coarsely_is_given_back_its_fine_lightness(tmp_path):
    film_it = film(
        Clip(tiny_clip()),
        tmp_path / "made.mp4",
        begin=unchanged,
        size=(16, 12),
        out_size=(64, 48),
    )
    assert list(film_it)[-1] == 1
    made, before = (
        list(Clip(file).frames())[4].picture for file in ((tmp_path / "made.mp4").read_bytes(), tiny_clip())
    )
    luma = [0.299, 0.587, 0.114]
    assert np.abs(made @ luma - before @ luma).mean() < 6


def test_what_fails_leaves_no_film_open(tmp_path):
    def begin(first):
        raise NotFinite("What is made of this frame")

    with pytest.raises(NotFinite):
        list(film(Clip(tiny_clip()), tmp_path / "made.mp4", begin=begin, size=(64, 48), out_size=(64, 48)))
    films = film(
        Clip(tiny_clip()),
        tmp_path / "left.mp4",
        begin=unchanged,
        size=(64, 48),
        out_size=(64, 48),
    )
    next(films)
    films.close()  # as of a job that was canceled
