"""Requests of clients that nobody here wrote: what a call does not take is refused, and said how to be sent."""

import base64

import numpy as np
import pytest
from PIL import Image

from app.settings import Settings
from tests.app.test_jobs import start
from tests.app.test_translate import PHOTO, upload
from tests.conftest import add_model
from tests.pictures import encoded
from tests.processes import api, eventually

NOISE = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
LARGE_PHOTO = encoded(Image.fromarray(NOISE))
BASE64 = base64.b64encode(PHOTO).decode()


@pytest.fixture(scope="module")
def lone_api(redis_server, tmp_path_factory):
    """A client of the API alone, which every request here stops at."""
    root = tmp_path_factory.mktemp("requests")
    add_model(root / "weights", "tiny", ready=True)
    settings = Settings(redis_url=redis_server.url, weights_dir=root / "weights", data_dir=root / "var", offline=True)
    with api(settings) as client:
        yield client


def refusal(answer):
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


def test_every_call_refuses_a_query_parameter_that_it_does_not_take(lone_api):
    document = lone_api.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method in operations:
            answer = lone_api.request(method, path, params={"nonsense": "1"})
            assert refusal(answer).startswith("nonsense: there is no query parameter of this name"), f"{method} {path}"


def test_every_form_refuses_a_field_that_it_does_not_take(lone_api):
    document = lone_api.get("/openapi.json").json()
    forms = [
        path
        for path, operations in document["paths"].items()
        if "multipart/form-data" in operations.get("post", {}).get("requestBody", {}).get("content", {})
    ]
    assert {"/translate", "/stargan/grid", "/datasets"} <= set(forms)
    for path in forms:
        answer = lone_api.post(path, files={"nonsense": (None, "1")})
        assert refusal(answer).startswith("nonsense: there is no form field of this name"), path


def test_the_documentation_may_be_asked_anything(lone_api):
    for path in ("/docs?x=1", "/openapi.json?x=1", "/docs/openapi.json?x=1"):
        assert lone_api.get(path).status_code == 200


JSON_TYPE = {"Content-Type": "application/json"}
MISNAMED = {
    "a field": ("/translate", {"files": upload(), "data": {"modell": "tiny"}}, "modell", "did you mean model?"),
    "a field in the address": ("/translate?model=tiny", {"files": upload()}, "model", "-F model="),
    "a field far from any": ("/stargan/style", {"files": upload(), "data": {"xyz": ""}}, "xyz", "there are image, "),
    "a field sent twice": ("/translate", {"files": upload(), "data": {"model": ["a", "b"]}}, "model", "2 times"),
    "a file sent twice": ("/translate", {"files": [*upload().items()] * 2}, "image", "2 times"),
    "a parameter sent twice": ("/training/cyclegan?dry_run=1&dry_run=0", {"json": {"dataset": "x"}}, "dry_run", "once"),
    "a parameter in the body": ("/training/cyclegan", {"json": {"dry_run": True}}, "dry_run", "?dry_run="),
    "a key": ("/training/cyclegan", {"json": {"dataset": "x", "epoch": 3}}, "epoch", "did you mean epochs?"),
    "a key sent twice": (
        "/training/cyclegan",
        {"content": '{"dataset": "x", "dataset": "y"}', "headers": JSON_TYPE},
        "dataset",
        "2 times",
    ),
    "an option of a comparison": (
        "/training/compare",
        {"json": {"family": "cyclegan", "base": {"dataset": "x", "epoch": 3}, "variants": [{}, {"lr": 1e-4}]}},
        "epoch",
        "did you mean epochs?",
    ),
    "a file": ("/translate", {"files": {"file": ("a.png", PHOTO)}}, "file", "curl -F image=@FILE "),
}


@pytest.mark.parametrize("case", MISNAMED)
def test_what_is_misnamed_is_named_with_what_may_have_been_meant(lone_api, case):
    path, request, name, hint = MISNAMED[case]
    detail = refusal(lone_api.post(path, **request))
    assert f"{name}: " in detail
    assert hint in detail


def without_file_name(data, content_type="multipart/form-data; boundary=x"):
    part = b'--x\r\nContent-Disposition: form-data; name="image"\r\nContent-Type: image/png\r\n\r\n'
    return {"content": part + data + b"\r\n--x--\r\n", "headers": {"Content-Type": content_type}}


FOREIGN = {
    "raw bytes": ({"content": PHOTO, "headers": {"Content-Type": "image/png"}}, "not image/png"),
    "raw bytes of no type": ({"content": PHOTO}, "its Content-Type is missing"),
    "raw bytes as curl -d sends them": (
        {"content": LARGE_PHOTO, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        "not application/x-www-form-urlencoded",
    ),
    "base64 in JSON": ({"json": {"image": BASE64}}, "no base64"),
    "a data URL in JSON": ({"json": {"image": f"data:image/png;base64,{BASE64}"}}, "no data: URL"),
    "base64 in the form": ({"files": {"image": (None, BASE64)}}, "image: a file is needed, not text"),
    "no body": ({}, "no body was sent"),
    "fields alone": ({"data": {"model": "tiny"}}, "not application/x-www-form-urlencoded"),
    "a form without the file": ({"files": {"model": (None, "tiny")}}, "image: Field required"),
    "a compressed body": (
        {"content": PHOTO, "headers": {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"}},
        "gzip",
    ),
    "an empty file": ({"files": {"image": (None, "")}}, "image: Field required"),
    "no boundary": ({"content": PHOTO, "headers": {"Content-Type": "multipart/form-data"}}, "boundary"),
    "an unknown charset": (
        without_file_name(PHOTO, "multipart/form-data; boundary=x; charset=martian"),
        "a file is needed",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_client_that_sends_pictures_otherwise_is_told_how(lone_api, case):
    request, reason = FOREIGN[case]
    detail = refusal(lone_api.post("/translate", **request))
    assert reason in detail
    assert f"curl -F image=@FILE 127.0.0.1:{lone_api.base_url.port}/translate" in detail


def test_a_file_without_a_name_is_the_same_mistake_whatever_its_size(lone_api):
    assert len(LARGE_PHOTO) > 1 << 20
    small, large = (refusal(lone_api.post("/translate", **without_file_name(data))) for data in (PHOTO, LARGE_PHOTO))
    assert small == large


@pytest.mark.parametrize(
    ("request_parts", "reason"),
    [
        ({}, "no body was sent"),
        ({"data": {"dataset": "x"}}, "not application/x-www-form-urlencoded"),
        ({"content": b'{"dataset": "\xe9"}', "headers": JSON_TYPE}, "utf-8"),
    ],
)
def test_a_call_that_takes_json_says_so(lone_api, request_parts, reason):
    detail = refusal(lone_api.post("/training/cyclegan", **request_parts))
    assert reason in detail
    assert """curl -H 'Content-Type: application/json' -d '{"dataset": "..."}'""" in detail


def test_a_body_that_nothing_would_read_is_refused(lone_api):
    assert "takes no body" in refusal(lone_api.post("/models/tiny/rollback", data={"version": "1"}))
    assert lone_api.post("/models/tiny/rollback", json={}).status_code == 409  # passes: it was not published here


@pytest.mark.parametrize(
    ("path", "meant"), [("/Translate", "/translate"), ("/model", "/models"), ("/job/1", "/jobs/1")]
)
def test_an_address_that_is_nearly_right_is_named(lone_api, path, meant):
    answer = lone_api.post(path)
    assert answer.status_code == 404
    assert f"did you mean {meant}?" in answer.json()["detail"]


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(lone_api):
    for method in ("PUT", "OPTIONS", "TRACE"):
        answer = lone_api.request(method, "/jobs/1")
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


def test_addresses_and_commands_name_the_prefix_of_a_proxy(settings):
    settings.root_path = "/doppel"
    with api(settings) as client:
        assert "did you mean /doppel/translate?" in client.post("/doppel/Translate").json()["detail"]
        assert client.put("/doppel/jobs/1").headers["allow"] == "GET, DELETE, HEAD"
        assert f"curl -F image=@FILE 127.0.0.1:{client.base_url.port}/doppel/translate" in refusal(
            client.post("/doppel/translate")
        )


@pytest.mark.parametrize("path", ["/models", "/models/tiny", "/models/none", "/healthz", "/docs", "/openapi.json"])
def test_head_is_answered_as_get_but_without_the_body(lone_api, path):
    same = {"X-Request-Id": "the-same"}
    head, get = lone_api.head(path, headers=same), lone_api.get(path, headers=same)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_head_of_an_event_stream_ends(client):
    answer = client.head(start(client)["links"]["events"])
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_result_is_sent_in_the_parts_that_are_asked_for(service):
    job = start(service)
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "succeeded")

    def get(**headers):
        return service.get(job["links"]["image"], headers={name.replace("_", "-"): v for name, v in headers.items()})

    whole = get()
    assert whole.headers["accept-ranges"] == "bytes"
    size, etag = len(whole.content), whole.headers["etag"]
    for asked, expected in {"0-1": (0, 2), "10-": (10, size), "-7": (size - 7, size), "5-99999": (5, size)}.items():
        part = get(Range=f"bytes={asked}", If_Range=etag)
        assert part.status_code == 206
        assert part.content == whole.content[slice(*expected)]
        assert part.headers["content-range"] == f"bytes {expected[0]}-{expected[1] - 1}/{size}"
    beyond = get(Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ({"Range": "bytes=0-1", "If_Range": '"other"'}, {"Range": "bytes=2-1"}, {"Range": "pages=1-2"}):
        assert (get(**ignored).status_code, get(**ignored).content) == (200, whole.content)
    assert int(service.head(job["links"]["image"], headers={"Range": "bytes=0-1"}).headers["content-length"]) == size
