"""The calls that paint in a style, over real HTTP, with a real worker and the models that ship."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.geometry import resized
from app.settings import Settings
from models.device import ServingDevice
from models.serving.painter import Painter
from models.serving.painting import Painting
from models.store.catalog import Catalog
from tests.pictures import decoded, encoded, landscape
from tests.processes import ROOT, api, environment, eventually, process, ready

WEIGHTS = ROOT / "weights"
IMAGE = landscape(128, 96)
PHOTO = encoded(IMAGE)
STYLES = [
    (ROOT / "docs/images" / name).read_bytes() for name in ("sample-painting.jpg", "sample-photo-style_monet.jpg")
]
MAX_PIXELS = 256 * 256  # of a picture that is painted at once


@pytest.fixture(scope="module")
def service(redis_server, tmp_path_factory):
    settings = Settings(
        redis_url=redis_server.url,
        weights_dir=WEIGHTS,
        data_dir=tmp_path_factory.mktemp("var"),
        device="cpu",
        offline=True,
        max_output_pixels=MAX_PIXELS,
    )
    preload = {"DOPPEL_PRELOAD": "style-by-example"}
    with (
        api(settings) as client,
        process(sys.executable, "-m", "app.cli", "worker", env=environment(settings) | preload),
    ):
        eventually(lambda: ready(client))
        yield client


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    return Painter(Catalog(WEIGHTS, tmp_path_factory.mktemp("none")).get("style-by-example"), ServingDevice("cpu"))


def sent(image=PHOTO, styles=STYLES[:1], **fields):
    files = [("image", ("photo.png", image, "image/png"))] if image is not None else []
    return {"files": [*files, *(("style", ("style.jpg", style, "image/jpeg")) for style in styles)], "data": fields}


def picture(answer):
    assert answer.status_code == 200, answer.text
    return decoded(answer.content)


def far(a, b):
    return np.abs(a.astype(int) - b).max()


def test_a_photo_is_painted_in_the_style_of_a_picture(service, painter):
    answer = service.post("/style", **sent())
    (expected,) = painter([np.asarray(IMAGE)], [Painting(weights=[1.0])], [[decoded(STYLES[0])]])
    assert far(picture(answer), expected) <= 1
    assert answer.headers["x-model"] == "style-by-example"
    assert b"compositeWithTrainedAlgorithmicMedia" in answer.content
    by_translate = service.post(
        "/translate",
        files={"image": ("photo.png", PHOTO), "reference": ("style.jpg", STYLES[0])},
        data={"model": "style-by-example"},
    )
    assert far(picture(by_translate), expected) <= 1


def test_how_much_of_which_style_and_which_colours_can_be_said(service, painter):
    asked = Painting(weights=[0.75, 0.25], strength=0.6, preserve_color=True)
    styles = [decoded(style) for style in STYLES]
    # The API brings a style picture to 256 px; a JPEG may be shrunk while it is decoded.
    (expected,) = painter([np.asarray(IMAGE)], [asked], [styles])
    fields = {"weights": "[3, 1]", "strength": "0.6", "preserve_color": "true"}
    actual = picture(service.post("/style", **sent(styles=STYLES, **fields)))
    assert np.abs(actual.astype(int) - expected).mean() < 1
    other = picture(service.post("/style", **sent(styles=STYLES, **fields | {"weights": "[1, 3]"})))
    assert np.abs(other.astype(int) - expected).mean() > 1


def test_a_coarse_stroke_is_painted_small_and_enlarged(service, painter):
    (expected,) = painter([np.asarray(IMAGE)], [Painting(weights=[1.0], reduction=2)], [[decoded(STYLES[0])]])
    assert far(picture(service.post("/style", **sent(stroke="2"))), expected) <= 1


def test_a_fine_stroke_is_painted_large_and_reduced(service, painter):
    double = np.asarray(IMAGE.resize((256, 192), Image.Resampling.BICUBIC))
    (large,) = painter([double], [Painting(weights=[1.0])], [[decoded(STYLES[0])]])
    assert far(picture(service.post("/style", **sent(stroke="0.5"))), resized(large, 128, 96)) <= 1


def test_a_style_code_stands_for_the_picture(service):
    code = service.post("/style/code", **sent(image=None))
    assert code.status_code == 200, code.text
    assert (len(code.json()["code"]), code.json()["model"]) == (100, "style-by-example")
    by_code = service.post("/style", **sent(styles=[], code=code.text))
    assert far(picture(by_code), picture(service.post("/style", **sent()))) <= 1
    mixed = service.post("/style/code", **sent(image=None, styles=STYLES, weights="[1, 0]"))
    assert np.allclose(mixed.json()["code"], code.json()["code"], atol=1e-5)


def test_a_model_with_one_style_is_a_model_like_any_other(service):
    name = "style-yellow-ink"
    whole = picture(service.post("/translate", **sent(styles=[], model=name)))
    assert far(whole, picture(service.post("/style", **sent(styles=[], model=name)))) <= 0
    half = picture(service.post("/style", **sent(styles=[], model=name, strength="0.5")))
    assert far(half, (whole.astype(int) + np.asarray(IMAGE)) / 2) <= 1
    eventually(lambda: service.get(f"/models/{name}").json()["loaded_on"])
    sample = service.get(service.get(f"/models/{name}").json()["sample"])
    assert decoded(sample.content).shape == (108, 144, 3)


def test_a_large_picture_is_a_long_job_and_as_it_would_be_at_once(service, painter):
    large = IMAGE.resize((320, 240))
    accepted = service.post("/style", **sent(image=encoded(large), resolution="native", wait="0"))
    assert accepted.status_code == 202
    job = accepted.json()
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "succeeded")
    (expected,) = painter([np.asarray(large)], [Painting(weights=[1.0])], [[decoded(STYLES[0])]])
    made = picture(service.get(job["links"]["image"]))
    assert (np.abs(made.astype(int) - expected) > 1).mean() < 1e-3


ONE = {"styles": STYLES[:1]}
NONE = {"styles": []}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (NONE, "The picture whose style is applied is missing: send it as style"),
        ({"styles": [b"no picture"]}, "style: The picture is not a picture in a known format"),
        ({"styles": [STYLES[0], b""]}, "style 2: The picture is empty"),
        ({"styles": [encoded(Image.new("RGB", (8, 8)))]}, "style: The picture is 8 × 8"),
        ({"image": encoded(Image.new("RGB", (8, 300)))}, "image: The picture is 8 × 300"),
        ({"image": PHOTO, "resolution": "4000"}, "resolution: '4000' is no number of pixels"),
        ({"image": PHOTO, "resolution": "2048", "stroke": "0.25"}, "at most 50,000,000 pixels are accepted"),
        ({"styles": [STYLES[0]] * 9}, "style: 9 pictures; at most 8 styles are mixed"),
        (ONE | {"strength": "1.5"}, "strength: Input should be less than or equal to 1"),
        (ONE | {"strength": "nan"}, "strength: "),
        (ONE | {"stroke": "9"}, "stroke: Input should be less than or equal to 4"),
        (ONE | {"weights": "[1, 2]"}, "weights: 2 of them for 1 style pictures"),
        (ONE | {"weights": "[-1]"}, "weights: they must not be negative, nor all 0"),
        (ONE | {"weights": "[0]"}, "weights: they must not be negative, nor all 0"),
        (ONE | {"weights": "much"}, "weights: 'much' is not a JSON list of numbers"),
        (ONE | {"weights": "[NaN]"}, "weights: '[NaN]' is not a JSON list of numbers"),
        (NONE | {"weights": "[1]", "code": "[1]"}, "weights: they are for style pictures, and none was sent"),
        (NONE | {"code": "[1, 2]"}, "code: 2 numbers; this model takes 100"),
        (ONE | {"code": "[1]"}, "Send either style pictures or a code, not both"),
        (ONE | {"model": "style_monet"}, "style_monet does not paint in a style"),
        (ONE | {"model": "style-embers"}, "style-embers has one style of its own"),
        (ONE | {"preserve_colour": "true"}, "did you mean preserve_color?"),
    ],
)
def test_what_can_not_be_painted_is_said(service, request_, why):
    answer = service.post("/style", **sent(**request_))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert why in answer.json()["detail"]


@pytest.mark.parametrize("fields", [{"seed": "1"}, {"domain": "photo"}, {"psi": "0.5"}])
def test_a_style_model_refuses_what_is_for_stargan(service, fields):
    answer = service.post("/translate", **sent(styles=[], model="style-embers", **fields))
    assert answer.status_code == 422
    assert f"takes no {next(iter(fields))}" in answer.json()["detail"]


def test_the_terminal_paints_what_the_service_paints(service, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DOPPEL_DEVICE", "cpu")
    (tmp_path / "photo.png").write_bytes(PHOTO)
    for number, style in enumerate(STYLES):
        (tmp_path / f"{number}.jpg").write_bytes(style)
    styles = [f"--style={tmp_path / name}" for name in ("0.jpg", "1.jpg")]
    command = ["translate", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png")]
    options = ["--weights", "3,1", "--strength", "0.4", "--stroke", "1.5", "--preserve-color"]
    assert cli.main([*command, *styles, *options]) == 0, capsys.readouterr().err
    fields = {"weights": json.dumps([3, 1]), "strength": "0.4", "stroke": "1.5", "preserve_color": "1"}
    expected = picture(service.post("/style", **sent(styles=STYLES, **fields)))
    assert (np.abs(decoded((tmp_path / "out.png").read_bytes()).astype(int) - expected) > 1).mean() < 1e-3


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["-m", "style-by-example"], 1, "needs the picture whose style is applied: --style PICTURE"),
        (["-m", "style_monet-lite", "--strength", "0.5"], 2, "has one style, and takes no --strength"),
        (["--style", str(WEIGHTS / "style-26" / "LICENSE")], 1, "LICENSE: The picture is not a picture"),
    ],
)
def test_what_the_terminal_can_not_paint_is_said(options, status, why, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(tmp_path / "var"))
    (tmp_path / "photo.png").write_bytes(PHOTO)
    command = ["translate", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png")]
    assert cli.main([*command, *options]) == status
    assert why in capsys.readouterr().err
