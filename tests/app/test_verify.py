"""What leaves the service says where it is from, and ``/verify`` and ``doppel verify`` read it back."""

import logging
import stat
import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.credentials import Credentials, MadeBy, Signing
from app.images import MEDIA_TYPES, encode
from app.rendering import ZIP, render
from models.provenance.content_credentials import Signer
from models.provenance.identity import own_identity
from models.provenance.origin import Input, Origin
from models.store.catalog import Catalog
from tests.app.test_jobs import start
from tests.app.test_translate import PHOTO, picture, upload
from tests.fake_worker import NEWER
from tests.pictures import altered, encoded, landscape
from tests.processes import api, eventually, fake_worker
from worker.contract import Arrangement


def verified(client, data):
    answer = client.post("/verify", files={"image": ("found", data, "application/octet-stream")})
    assert answer.status_code == 200, answer.text
    return answer.json()


def translated(client, data=PHOTO, **headers):
    answer = client.post("/translate", files=upload(data), data={"model": "tiny"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_what_leaves_can_be_verified_and_so_can_any_change(service, settings):
    card = Catalog(settings.weights_dir, settings.data_dir).get("tiny")
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    exif.get_ifd(0x8825)[1] = "S"
    photo = encoded(landscape(), "JPEG", exif=exif, comment=b"secret comment")
    for media_type in MEDIA_TYPES:
        data = translated(service, photo, Accept=media_type)
        assert b"secret" not in data
        assert not Image.open(BytesIO(data)).getexif()
        verdict = verified(service, data)
        assert (verdict["state"], verdict["ours"], verdict["altered"]) == ("trusted", True, False)
        assert (verdict["model"], card.sha256.startswith(verdict["version"])) == ("tiny", True)
        assert verdict["source_type"] == "compositeWithTrainedAlgorithmicMedia"
        assert verdict["inputs"] == [Input.of(photo, "source").name]
        changed = verified(service, altered(data))
        assert (changed["state"], changed["ours"], changed["altered"]) == ("invalid", True, True), media_type


def test_credentials_name_the_version_that_made_a_picture_not_the_one_that_was_ordered(service):
    request = {"files": upload(picture(NEWER)), "data": {"model": "tiny"}, "headers": {"Idempotency-Key": "once"}}
    answer, repeated = (service.post("/translate", **request) for _ in range(2))
    fetched = service.get(f"/jobs/{answer.headers['x-job-id']}/image")
    for data in (answer.content, repeated.content, fetched.content):
        assert verified(service, data)["version"] == "newer"


def test_the_credentials_of_an_upload_are_kept_by_every_way_to_its_result(service, tmp_path):
    camera = Signer(own_identity(tmp_path / "camera"), generator=("Camera", "7"))
    photo = camera.signed(PHOTO, "image/png", Origin(model="lens"))
    request = {"files": upload(photo), "data": {"model": "tiny"}, "headers": {"Idempotency-Key": "once"}}
    answer, repeated = (service.post("/translate", **request) for _ in range(2))
    fetched = service.get(f"/jobs/{answer.headers['x-job-id']}/image")
    assert repeated.headers["x-job-id"] == answer.headers["x-job-id"]
    for data in (answer.content, repeated.content, fetched.content):
        verdict = verified(service, data)
        assert (verdict["ours"], verdict["altered"]) == (True, False)
        assert verdict["history"] == [{"generator": "Camera 7", "signer": "Doppel"}]


def test_a_job_s_picture_is_the_same_file_from_whichever_process(service, settings):
    job = start(service)
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "succeeded")
    url = job["links"]["image"]
    with api(settings) as other:
        for media_type in MEDIA_TYPES:
            headers = {"Accept": media_type}
            first, *more = (client.get(url, headers=headers) for client in (service, other, service))
            assert verified(service, first.content)["ours"], media_type
            assert {answer.headers["etag"] for answer in more} == {first.headers["etag"]}
            assert [answer.content for answer in more] == [first.content] * 2


def test_each_picture_of_a_zip_names_its_own_source(settings):
    pictures = [np.full((8, 8, 3), n * 20, np.uint8) for n in range(4)]
    inputs = [Input.of(bytes([n]), "source") for n in range(2)]
    credentials = Credentials(settings)
    kept = b""
    for _ in range(2):  # the second time as it was the first
        sign = Signing(credentials, Origin(model="faces", inputs=inputs), kept=kept)
        data = render(pictures, "grid", Arrangement(sources=2), None, ZIP, sign)
        kept, earlier = sign.splices, kept
    assert kept == earlier
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for n, given in enumerate(inputs):
            verdict = credentials.check(archive.read(f"source-{n + 1}-style-1.png"))
            assert (verdict.ours, verdict.inputs) == (True, [given.name])


@pytest.mark.parametrize("data", [b"", b"no picture", b"%PDF-1.7 and more"])
def test_what_is_no_picture_is_refused(client, data):
    answer = client.post("/verify", files={"image": ("found.png", data, "image/png")})
    assert (answer.status_code, answer.json()["title"]) == (422, "Not a usable picture")
    assert client.post("/verify").status_code == 422


def test_the_root_is_exported_and_keys_are_not(client, settings, monkeypatch, capsys):
    root = client.get("/verify/root")
    assert (root.status_code, root.headers["content-type"]) == (200, "application/x-pem-file")
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(settings.data_dir))
    assert cli.main(["identity"]) == 0
    assert capsys.readouterr().out == root.text
    assert root.text.count("BEGIN CERTIFICATE") == 1
    assert "PRIVATE" not in root.text
    assert stat.S_IMODE((settings.data_dir / "identity").stat().st_mode) == 0o700


def test_an_operator_can_leave_the_mark_alone(settings, redis_url):
    with api(settings.model_copy(update={"content_credentials": False})) as client, fake_worker(redis_url):
        data = translated(client)
        verdict = verified(client, data)
        assert (verdict["state"], verdict["marked"]) == ("none", True)
        assert b"c2pa" not in data


def test_a_picture_leaves_without_credentials_if_the_library_is_missing(settings, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    for module in ("content_credentials", "verification"):
        monkeypatch.delitem(sys.modules, f"models.provenance.{module}", raising=False)
    credentials = Credentials(settings)
    picture = encode(np.asarray(landscape()), "image/png")
    sign = MadeBy(credentials, Catalog(settings.weights_dir, settings.data_dir).get("tiny")).of(PHOTO)
    with caplog.at_level(logging.WARNING):
        assert [sign(picture, "image/png") for _ in range(3)] == [picture] * 3
    assert len([record for record in caplog.records if "Content Credentials" in record.message]) == 1


def test_a_picture_leaves_without_credentials_if_the_identity_can_t_be_made(settings, caplog):
    settings.data_dir.mkdir()
    (settings.data_dir / "identity").write_text("in the way")
    picture = encode(np.asarray(landscape()), "image/png")
    sign = Signing(Credentials(settings), Origin(model="tiny"))
    assert sign(picture, "image/png") == picture
    assert not sign.changed
    assert "identity" in caplog.text


def test_verifying_in_the_terminal(settings, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(settings.data_dir))
    model = Catalog(settings.weights_dir, settings.data_dir).get("tiny")
    plain = encode(np.asarray(landscape()), "image/png")
    signed = MadeBy(Credentials(settings), model).of(PHOTO)(plain, "image/png")
    changed = altered(signed)
    said = {}
    for data, status in ((signed, 0), (changed, 1), (plain, 1), (b"text", 2)):
        (tmp_path / "found.png").write_bytes(data)
        assert cli.main(["verify", str(tmp_path / "found.png")]) == status
        said[data] = capsys.readouterr()
    assert f"made by: tiny, version {model.sha256[:12]}" in said[signed].out
    assert "signed by: this installation\naltered since: no" in said[signed].out
    assert "altered since: yes" in said[changed].out
    assert "no Content Credentials" in said[plain].out
    assert "neither a picture nor a video" in said[b"text"].err
    assert cli.main(["verify", str(tmp_path / "absent.png")]) == 1
