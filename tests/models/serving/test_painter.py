"""Painting in a style: the engines agree, tiles show no seam, and a painting's other wishes are granted."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models.device import ServingDevice
from models.serving.finishing import reduced, with_colours_of, with_detail_of
from models.serving.openvino_painter import OpenVINOPainter
from models.serving.painter import Brush, Painter
from models.serving.painting import Painting
from models.serving.tiles import Tiling, translate_in_tiles
from models.serving.torch_painter import TorchPainter
from models.store.catalog import Catalog
from models.store.model_card import StyleNetwork
from models.style.shape import reach
from tests.pictures import landscape
from tests.processes import ROOT

CPU = ServingDevice("cpu")
ENGINES = [OpenVINOPainter, TorchPainter]
BY_EXAMPLE, FIXED = "style-by-example", "style-starry-strokes"
PHOTO = np.asarray(landscape(96, 64))
PAINTING, OTHER = (
    np.asarray(Image.open(ROOT / "docs/images" / name).convert("RGB"))
    for name in ("sample-painting.jpg", "sample-photo-style_monet.jpg")
)
ALL = Painting(weights=[1.0])


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return Catalog(ROOT / "weights", tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def painter(catalog):
    return Painter(catalog.get(BY_EXAMPLE), CPU)


@pytest.fixture(scope="module")
def fixed(catalog):
    return Painter(catalog.get(FIXED), CPU)


def code_of(model, engine):
    return np.array(model.card.code, np.float32) if model.card.code else engine.encode(PAINTING[np.newaxis])[0]


def far(a, b):
    return np.abs(a.astype(int) - b).max()


@pytest.mark.parametrize("name", [BY_EXAMPLE, FIXED])
def test_both_engines_paint_the_same(catalog, name):
    model = catalog.get(name)
    actual, expected = (engine(model, CPU) for engine in ENGINES)
    code = code_of(model, actual)
    assert np.allclose(code, code_of(model, expected), atol=1e-4)
    codes = np.stack([code, code / 2])
    for height, width in ((96, 64), (40, 32)):  # one graph paints all shapes
        pictures = np.stack([np.asarray(landscape(width, height))] * 2)
        (painted, finite), (wanted, _) = actual.paint(pictures, codes), expected.paint(pictures, codes)
        assert finite
        assert wanted.std() > 5
        assert far(painted, wanted) <= 1
        assert far(painted[0], painted[1]) > 10  # each picture has its own code


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [BY_EXAMPLE, FIXED])
def test_tiles_by_the_statistics_of_the_whole_picture_are_its_parts(catalog, engine, name):
    model = catalog.get(name)
    network = engine(model, CPU)
    code = code_of(model, network)
    picture = np.asarray(landscape(260, 212))
    moments = network.measuring(code)(picture[np.newaxis])

    class InStyle:
        def measuring(self):
            return lambda pictures: moments

        def fixed(self, pooled):
            return network.fixed(code, pooled)

    tiling = Tiling.of_painter(StyleNetwork.model_validate(model.card.network), number_bytes=4)
    made = np.zeros_like(picture)
    shares = list(translate_in_tiles(InStyle(), picture, made, replace(tiling, step_pixels=160 * 160), name=name))
    assert len(shares) > 4
    whole = network.paint(picture[np.newaxis], code[np.newaxis])[0][0]
    assert far(made, whole) <= 2  # of the many values few are rounded to another level
    assert (np.abs(made.astype(int) - whole) > 1).mean() < 1e-3


def test_the_reach_is_as_far_as_a_pixel_can_matter(catalog):
    network = TorchPainter(catalog.get(FIXED), CPU)  # the model with more blocks
    code = np.full(26, 1 / 26, np.float32)
    picture = np.zeros((8, 400, 3), np.uint8)
    moments = network.measuring(code)(np.asarray(landscape(128, 96))[np.newaxis])
    paint = network.fixed(code, moments)
    before = paint(picture[np.newaxis])[0][0]
    touched = []
    for column in range(200, 204):
        changed = picture.copy()
        changed[:, column] = 255
        columns = np.flatnonzero((paint(changed[np.newaxis])[0][0] != before).any(axis=(0, 2)))
        touched += [column - columns.min(), columns.max() - column]
    assert 30 < max(touched) <= reach(6)


def test_a_mixture_is_the_mean_of_the_codes(painter):
    first, second = (painter.code([style], [1.0]) for style in (PAINTING, OTHER))
    assert np.abs(first - second).max() > 0.2
    assert np.allclose(painter.code([PAINTING, OTHER], [0.75, 0.25]), 0.75 * first + 0.25 * second, atol=1e-5)


def test_strength_leads_from_the_photos_own_style_to_the_other(painter):
    own, other = painter.code([PHOTO], [1.0]), painter.code([PAINTING], [1.0])
    for strength in (0.0, 0.4, 1.0):
        code = painter.style(Painting(weights=[1.0], strength=strength), [PAINTING], PHOTO)
        assert np.allclose(code, own + strength * (other - own), atol=1e-5)


def test_of_little_strength_the_photo_itself_is_mixed_in(painter):
    (whole,) = painter.paint([PHOTO], [painter.style(Painting(weights=[1.0], strength=0.2), [PAINTING], PHOTO)])
    little, none, none_reduced = (
        painter([PHOTO], [Painting(weights=[1.0], strength=strength, reduction=reduction)], [[PAINTING]])[0]
        for strength, reduction in ((0.2, 1), (0.0, 1), (0.0, 3))
    )
    assert np.array_equal(none, PHOTO)
    assert np.array_equal(none_reduced, PHOTO)
    assert np.abs(little - (0.4 * whole + 0.6 * PHOTO)).max() <= 1  # all of it from a half on


def test_a_photo_that_is_painted_smaller_is_given_back_its_fine_lightness(painter):
    asked = Painting(weights=[1.0], reduction=2)
    small = np.asarray(Image.fromarray(PHOTO).resize((48, 32), Image.Resampling.BICUBIC))
    (painted,) = painter.paint([small], [painter.code([PAINTING], [1.0])])
    enlarged, kept = (
        np.asarray(Image.fromarray(picture).resize((96, 64), Image.Resampling.BICUBIC)) for picture in (painted, small)
    )
    luma = [0.299, 0.587, 0.114]
    expected = enlarged @ luma + PHOTO @ luma - kept @ luma
    (actual,) = painter([PHOTO], [asked], [[PAINTING]])
    inside = ((actual > 0) & (actual < 255)).all(axis=-1)  # where no channel was clipped
    assert inside.mean() > 0.5
    assert np.abs(actual @ luma - expected)[inside].max() < 4
    assert far(list(painter.in_tiles(PHOTO, asked, [PAINTING]))[-1][1], actual) <= 1


def test_what_is_not_painted_comes_back_with_all_its_lightness():
    odd = np.asarray(landscape(95, 61))
    small = reduced(odd, 2.5)
    assert small.shape == (24, 40, 3)
    grey = Image.fromarray(odd).convert("L")
    assert far(np.asarray(Image.fromarray(with_detail_of(odd, small)).convert("L")), np.asarray(grey)) <= 3
    assert reduced(odd, 100).shape == (16, 16, 3)


def test_the_middle_square_of_a_style_picture_is_looked_at(painter):
    wide = np.full((256, 600, 3), 255, np.uint8)
    wide[:, 172:428] = PAINTING
    assert np.array_equal(painter.code([wide], [1.0]), painter.code([PAINTING], [1.0]))


def test_a_fixed_style_is_faded_into_the_photo(catalog, fixed):
    code = catalog.get(FIXED).card.code
    all_of_it, half, none = (
        fixed([PHOTO], [Painting(code=code, strength=strength)], [[]])[0] for strength in (1.0, 0.5, 0.0)
    )
    assert np.array_equal(none, PHOTO)
    assert np.abs(half - (all_of_it.astype(float) + PHOTO) / 2).max() <= 1


def test_colours_are_kept_and_lightness_is_painted(painter):
    (painted,) = painter([PHOTO], [ALL], [[PAINTING]])
    (kept,) = painter([PHOTO], [ALL.model_copy(update={"preserve_color": True})], [[PAINTING]])
    assert np.array_equal(kept, with_colours_of(PHOTO, painted))
    weights = [0.299, 0.587, 0.114]  # of JPEG's luma
    inside = ((kept > 0) & (kept < 255)).all(axis=-1)  # where no channel was clipped
    assert inside.mean() > 0.3
    assert np.abs((kept @ weights - painted @ weights)[inside]).max() < 3
    for channel in (0, 2):
        colour, own = (picture[..., channel] - picture @ weights for picture in (kept, PHOTO))
        assert np.abs((colour - own)[inside]).max() < 4


def test_one_picture_in_tiles_and_at_once_is_the_same(painter):
    asked = Painting(weights=[1.0], strength=0.7, preserve_color=True)
    (expected,) = painter([PHOTO], [asked], [[PAINTING]])
    *_, (done, picture) = painter.in_tiles(PHOTO, asked, [PAINTING])
    assert done == 1
    assert far(picture, expected) <= 1
    brush = Brush(painter, asked, [PAINTING])  # which reads the style once for many pictures
    assert far(brush([PHOTO, PHOTO])[1], expected) <= 1
    assert far(list(brush.in_tiles(PHOTO))[-1][1], expected) <= 1
