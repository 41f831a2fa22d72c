"""Faces: found, aligned, told apart."""

import pytest

from tests.app.stargan.sending import PHOTO, difference, picture
from tests.pictures import encoded, photo


def test_an_aligned_face_is_enlarged_if_a_number_is_asked_for(service):
    assert picture(service.post("/stargan/reference", **portrait(resolution="100"))).shape == (100, 100, 3)
    answer = service.post("/stargan/reference", **portrait(resolution="source"))
    assert picture(answer).shape == (64, 64, 3)
    assert "64 x 64 px" in answer.headers["x-note"]  # headers are ASCII


PORTRAIT = encoded(photo(400, 300, (90, 40, 220)))

CROWD = encoded(photo(800, 480, (40, 60, 140), (420, 100, 240)))


def portrait(data=PORTRAIT, *, reference=PORTRAIT, **fields):
    files = {"image": ("portrait.png", data, "image/png"), "reference": ("reference.png", reference, "image/png")}
    return {"files": files, "data": {"model": "faces"} | fields}


def test_a_model_of_faces_aligns_source_and_reference(service):
    answer = service.post("/stargan/reference", **portrait())
    assert picture(answer).shape == (64, 64, 3)
    assert "x-note" not in answer.headers
    unaligned = picture(service.post("/stargan/reference", **portrait(align="none", fit="square")))
    assert difference(picture(answer), unaligned) > 0.5


def test_which_of_several_faces_was_taken_is_said(service):
    answer = service.post("/stargan/reference", **portrait(CROWD))
    assert answer.headers["x-note"] == "the largest of 2 faces in the image was taken"
    job = service.post("/stargan/reference", **portrait(reference=CROWD), headers={"Accept": "application/json"})
    assert job.json()["notes"] == ["the largest of 2 faces in the reference was taken"]


@pytest.mark.parametrize(("fields", "what"), [({"data": PHOTO}, "image"), ({"reference": PHOTO}, "reference")])
def test_a_photo_without_a_face_is_refused_unless_it_is_to_be_taken_as_it_is(service, fields, what):
    answer = service.post("/stargan/reference", **portrait(**fields))
    assert answer.status_code == 422
    assert f"No face was found in the {what}" in answer.json()["detail"]
    assert answer.json()["code"] == "no_face"
    taken = picture(service.post("/stargan/reference", **portrait(**fields, align="none")))
    assert taken.shape == ((64, 96, 3) if fields.get("data") else (64, 85, 3))  # the shape of the image


def test_a_style_is_read_from_the_face(service):
    files = {"image": ("portrait.png", PORTRAIT, "image/png")}
    aligned, plain = (
        service.post("/stargan/style", files=files, data={"model": "faces", "align": align}).json()["style"]
        for align in ("auto", "none")
    )
    assert aligned != plain
