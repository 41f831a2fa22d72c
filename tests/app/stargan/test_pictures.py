"""The StarGAN calls that make one picture, and style codes."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.app.stargan.sending import PHOTO, REFERENCES, difference, picture, upload
from tests.pictures import encoded, landscape
from tests.processes import eventually


def test_a_picture_and_a_reference_are_all_that_is_needed(service):
    answer = service.post("/stargan/reference", **upload(reference=REFERENCES[0]))
    assert picture(answer).shape == (64, 96, 3)
    assert answer.headers["x-model"] == "stargan-monet-lite"
    assert "decode" in answer.headers["server-timing"]


def test_different_references_give_different_pictures(service):
    first, second, again = (
        picture(service.post("/stargan/reference", **upload(reference=REFERENCES[n]))) for n in (0, 1, 0)
    )
    assert difference(first, second) > 1
    assert difference(first, again) <= 1


def test_a_seed_stands_for_the_same_style_always(service):
    one, other, again = (picture(service.post("/stargan/latent", **upload(seed=str(seed)))) for seed in (1, 2, 1))
    assert difference(one, again) <= 1
    assert difference(one, other) > 0.5


@pytest.mark.parametrize(("path", "fields"), [("/stargan/latent", {}), ("/translate", {"model": "other"})])
def test_a_seed_that_nobody_sent_is_drawn_and_told(service, path, fields):
    answers = [service.post(path, **upload(**fields)) for _ in range(2)]
    first, second = (answer.headers["x-seed"] for answer in answers)
    assert first != second
    job = service.get(f"/jobs/{answers[0].headers['x-job-id']}").json()
    assert job["seeds"] == [int(first)]
    assert service.get(job["links"]["image"]).headers["x-seed"] == first
    again = service.post(path, **upload(seed=first, **fields))
    assert difference(picture(answers[0]), picture(again)) <= 1


def test_the_answer_in_the_shape_of_the_upload_is_a_choice(service):
    image = {"image": ("photo.png", encoded(landscape(301, 211)), "image/png")}
    sizes = {"": (64, 91), "source": (211, 301), "native": (211, 301)}  # 64 px: the size that it was trained at
    made = {
        resolution: picture(service.post("/stargan/latent", files=image, data={"seed": "1", "resolution": resolution}))
        for resolution in sizes
    }
    assert {resolution: result.shape[:2] for resolution, result in made.items()} == sizes
    enlarged = np.asarray(Image.fromarray(made[""].astype(np.uint8)).resize((301, 211), Image.Resampling.BICUBIC))
    assert difference(made["source"], enlarged.astype(int)) <= 1
    assert difference(made["source"], made["native"]) > 1


def test_a_latent_code_may_be_given_whole(service):
    latent = json.dumps([0.5] * 16)
    one, two = (picture(service.post("/stargan/latent", **upload(latent=latent, domain=d))) for d in ("", "photo"))
    assert difference(one, two) > 0.5


def test_truncation_leads_to_the_domains_mean(service):
    by_seed = [picture(service.post("/stargan/latent", **upload(seed=str(seed), psi="0"))) for seed in (1, 2)]
    assert difference(*by_seed) <= 1


def test_a_style_code_does_what_its_picture_does(service):
    answer = service.post("/stargan/style", files={"image": ("r.png", REFERENCES[1], "image/png")})
    assert answer.status_code == 200, answer.text
    code = answer.json()
    assert (code["domain"], code["model"], len(code["style"])) == ("painting", "stargan-monet-lite", 8)
    by_code = service.post("/stargan/reference", **upload(style=json.dumps(code["style"])))
    by_picture = service.post("/stargan/reference", **upload(reference=REFERENCES[1]))
    assert difference(picture(by_code), picture(by_picture)) <= 1


def test_a_style_code_can_be_fetched_later_with_its_job(service):
    job = service.post(
        "/stargan/style", files={"image": ("r.png", PHOTO, "image/png")}, data={"wait": "0", "domain": "photo"}
    )
    assert job.status_code == 202
    eventually(lambda: service.get(job.json()["links"]["self"]).json()["status"] == "succeeded")
    assert len(service.get(job.json()["links"]["self"]).json()["style"]) == 8
    picture_of_it = service.get(job.json()["links"]["image"])
    assert picture_of_it.status_code == 409
    assert "style code" in picture_of_it.json()["detail"]


def test_translate_does_the_same(service):
    by_name = picture(service.post("/stargan/latent", **upload(seed="5", model="other", domain="photo")))
    by_translate = picture(service.post("/translate", **upload(seed="5", model="other", domain="photo")))
    assert difference(by_name, by_translate) <= 1


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, (64, 96)),
        ({"fit": "square"}, (64, 64)),
        ({"fit": "crop", "resolution": "96"}, (96, 96)),
        ({"resolution": "100"}, (100, 150)),
        ({"resolution": "native"}, (64, 96)),
    ],
)
def test_size_and_shape_can_be_chosen(service, fields, shape):
    assert picture(service.post("/stargan/latent", **upload(seed="1", **fields))).shape[:2] == shape


def test_the_catalog_tells_of_domains(service):
    assert service.get("/models/other").json()["domains"] == ["painting", "photo"]
    assert service.get("/models/tiny").json()["domains"] == []


def test_the_drop_down_of_a_stargan_call_holds_stargan_models(service):
    schemas = service.get("/docs/openapi.json").json()["components"]["schemas"]
    body = next(schema for name, schema in schemas.items() if "translate_by_latent" in name)
    assert body["properties"]["model"]["enum"] == ["", "faces", "other", "stargan-monet-lite"]
