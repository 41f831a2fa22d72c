"""Bodies that are too large, errors that are too many, and the headers that all answers have."""

import json

import pytest

from tests.processes import api

JSON = {"Content-Type": "application/json"}


def keys(count: int) -> bytes:
    return json.dumps({f"k{n}": 1 for n in range(count)}).encode()


@pytest.mark.parametrize(
    "path", ["/training/cyclegan", "/training/cut", "/training/stargan", "/training/x/publish", "/training/compare"]
)
def test_json_of_more_than_64_kib_is_refused(client, path):
    answer = client.post(path, content=keys(8000), headers=JSON)
    assert answer.status_code == 413
    assert "65,536 bytes" in answer.json()["detail"]


def test_a_body_is_refused_in_the_same_words_whether_its_size_is_declared_or_not(settings):
    start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    def pieces():
        yield start
        yield from (bytes(1 << 16) for _ in range(32))

    settings.max_upload_mb = 1
    with api(settings) as client:
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        declared = client.post("/translate", content=start + bytes(2 << 20), headers=form)
        counted = client.post("/translate", content=pieces(), headers=form)
    assert declared.status_code == counted.status_code == 413
    assert declared.json()["title"] == counted.json()["title"]
    for answer in (declared, counted):
        assert "At most 1,048,576 bytes are accepted" in answer.json()["detail"]
        assert answer.headers["connection"] == "close"


def test_of_many_errors_the_first_ten_are_told(client):
    comparison = {"family": "cyclegan", "base": {"dataset": "d"}, "variants": [7] * 5000}
    answer = client.post("/training/compare", json=comparison)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "variants.9: " in detail
    assert "variants.10: " not in detail
    assert detail.endswith("and 4,990 more.")


@pytest.mark.parametrize("path", ["/healthz", "/models", "/nothing", "/openapi.json", "/", "/docs"])
def test_browsers_take_no_answer_for_what_it_is_not(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_an_answer_about_a_broken_card_names_no_folder_of_the_server(client, settings):
    card = settings.weights_dir / "tiny" / "model.json"
    card.write_text("{")
    answer = client.get("/models/tiny")
    assert answer.status_code == 503
    assert "tiny" in answer.json()["detail"]
    assert str(settings.weights_dir) not in answer.text
