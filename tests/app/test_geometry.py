"""The shape that a client asks for is the shape of its answer, whatever shape the model works in."""

import numpy as np
import pytest
import redis
from PIL import Image
from rq.job import Job

from app.geometry import Geometry, delivered, plan
from models.errors import Invalid
from tests.app.test_translate import upload
from tests.conftest import add_stargan
from tests.pictures import decoded, encoded, landscape
from tests.processes import api, eventually, fake_worker
from worker.job_records import LONG_FIELD

LIMIT = 4_194_304
ODD_SHAPES = [
    *((17, 23), (33, 31), (97, 64), (101, 203), (640, 481), (641, 483), (255, 257), (511, 513), (300, 401), (399, 300)),
    *(
        (16, 16),
        (16, 200),
        (1000, 37),
        (127, 129),
        (511, 1025),
        (512, 512),
        (509, 771),
        (1023, 511),
        (64, 65),
        (90, 333),
    ),
]
STARGAN = Geometry(standard=128, enlarge=True, multiple=16)
FACES = Geometry(standard=256, enlarge=True, only_square=256)


@pytest.mark.parametrize(
    ("size", "geometry", "given", "asked"),
    [
        ((640, 480), Geometry("native"), (640, 480), (640, 480)),
        ((641, 483), Geometry("native"), (672, 484), (641, 483)),
        ((483, 641), Geometry("native"), (484, 672), (483, 641)),
        ((1024, 768), Geometry(), (704, 512), (683, 512)),  # at most 512 unless asked
        ((400, 300), Geometry(), (416, 300), (400, 300)),  # never enlarged unless asked
        ((400, 300), Geometry(600), (800, 600), (800, 600)),
        ((300, 400), Geometry(256), (256, 352), (256, 341)),
        ((400, 300), Geometry(250, "square"), (252, 252), (250, 250)),
        ((400, 300), Geometry(250, "crop"), (252, 252), (250, 250)),
        ((1024, 768), Geometry("source"), (704, 512), (1024, 768)),
        ((4000, 3000), Geometry("source", "crop"), (512, 512), (3000, 3000)),
        ((400, 300), STARGAN, (192, 128), (171, 128)),
        ((100, 75), Geometry("native", multiple=16), (128, 80), (100, 75)),
        ((400, 300), Geometry("source", standard=128, enlarge=True, multiple=16), (192, 128), (400, 300)),
        ((20, 20), Geometry("native", multiple=16), (32, 32), (20, 20)),  # too small for this model as it is
        ((400, 300), FACES, (256, 256), (341, 256)),
        ((400, 300), Geometry.squeezed(250), (250, 250), (250, 250)),
    ],
)
def test_the_shape_that_the_model_gets_and_the_shape_of_the_answer(size, geometry, given, asked):
    planned = plan(size, geometry, LIMIT)
    picture = planned.apply(landscape(*size))
    assert picture.shape == (given[1], given[0], 3)
    assert delivered(picture, planned.delivery).shape == (asked[1], asked[0], 3)


@pytest.mark.parametrize("geometry", [Geometry(), Geometry("native"), Geometry("source", multiple=16)])
def test_a_model_that_changes_nothing_gives_the_upload_back(geometry):
    image = landscape(301, 211)
    planned = plan(image.size, geometry, LIMIT)
    assert (delivered(planned.apply(image), planned.delivery) == np.asarray(image)).all()


def test_a_result_in_another_size_lies_over_its_source():
    """Also where the model has its own shape: half a pixel of shift would show in a picture of fine stripes."""
    stripes = np.zeros((240, 333, 3), np.uint8)
    stripes[:, ::32] = stripes[::32, :] = 255
    for geometry in (Geometry("source", standard=120), FACES):
        planned = plan((333, 240), geometry, LIMIT)
        back = delivered(planned.apply(Image.fromarray(stripes)), planned.delivery)
        back = np.asarray(Image.fromarray(back).resize((333, 240)))[..., 0].astype(int)
        inner = back[:, 8:-8].mean(axis=0)
        assert [int(inner[n - 4 - 8 : n + 5 - 8].argmax()) for n in range(32, 320, 32)] == [4] * 9


def test_crop_takes_the_middle_and_square_takes_all():
    wide = landscape(400, 100)
    crop = plan(wide.size, Geometry(100, "crop"), LIMIT).apply(wide)
    assert (crop == np.asarray(wide)[:, 150:250]).all()
    square = plan(wide.size, Geometry(100, "square"), LIMIT).apply(wide)
    assert square[0, 0, 0] < 5
    assert square[0, -1, 0] > 250


def test_too_large_a_translation_is_refused():
    with pytest.raises(Invalid, match="smaller resolution"):
        plan((96, 64), Geometry(1024), 100_000)
    with pytest.raises(Invalid, match="sides of at most"):
        plan((1000, 16), Geometry(1024), LIMIT * 100)


def test_a_picture_that_is_too_large_for_the_model_is_translated_in_tiles():
    large = plan((6000, 4000), Geometry("native"), LIMIT, 50_000_000)
    assert (large.tiled, large.padded) == (True, (6016, 4000))
    assert not plan((640, 480), Geometry("native"), LIMIT, 50_000_000).tiled
    with pytest.raises(Invalid, match="at most 20,000,000 pixels"):
        plan((6000, 4000), Geometry("native"), LIMIT, 20_000_000)


def test_a_large_picture_of_a_cyclegan_is_a_long_job_and_others_are_refused(settings, weights_dir):
    add_stargan(weights_dir, "styles")
    source = landscape(301, 211)
    limits = {"max_output_pixels": 40_000, "max_tiled_pixels": 80_000}
    with api(settings.model_copy(update=limits)) as client, fake_worker(settings.redis_url):

        def translate(picture, model="tiny"):
            fields = {"model": model, "resolution": "native"}
            return client.post("/translate", files=upload(encoded(picture)), data=fields)

        answer = translate(source)
        assert (decoded(answer.content) == 255 - np.asarray(source)).all()
        job = client.get(f"/jobs/{answer.headers['X-Job-Id']}").json()
        assert (job["kind"], job["progress"]) == ("translation", 1)
        assert redis.Redis.from_url(settings.redis_url).hget(Job.key_for(job["id"]), LONG_FIELD) == b"1"
        for refused, most in ((translate(landscape(401, 211)), "80,000"), (translate(source, "styles"), "40,000")):
            assert refused.status_code == 422
            assert f"at most {most} pixels" in refused.json()["detail"]


@pytest.mark.parametrize("resolution", ["", "native"])
def test_the_answer_has_the_shape_of_the_upload_and_lies_over_it(service, resolution):
    for width, height in ODD_SHAPES:
        source = landscape(width, height)
        request = {"files": upload(encoded(source)), "data": {"model": "tiny", "resolution": resolution}}
        answer = service.post("/translate", **request)
        assert (decoded(answer.content) == 255 - np.asarray(source)).all(), (width, height)


def test_a_job_that_is_fetched_later_has_the_same_shape(service):
    source = landscape(641, 483)
    job = service.post("/translate", files=upload(encoded(source)), data={"model": "tiny", "wait": "0"}).json()
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "succeeded")
    assert "delivery" not in service.get(job["links"]["self"]).json()
    assert (decoded(service.get(job["links"]["image"]).content) == 255 - np.asarray(source)).all()
