"""The catalog over HTTP: listed, added to, exported; and health."""

import io

import pytest
import torch

from app import cli
from models.cyclegan import PatchDiscriminator, ResnetGenerator
from tests.conftest import TINY
from tests.processes import api, eventually, preparer


def test_every_model_is_listed_with_its_state(client):
    models = {model["name"]: model for model in client.get("/models").json()}
    assert sorted(models) == ["borrower", "missing", "tiny"]
    assert [models[name]["availability"] for name in ("tiny", "borrower", "missing")] == [
        "ready",
        "not fetched",
        "not fetched",
    ]
    assert [models[name]["runs_as"] for name in ("tiny", "borrower", "missing")] == ["tiny", "tiny", None]
    assert models["tiny"]["licence"] == "MIT"


def test_one_model_can_be_read(client):
    assert client.get("/models/tiny").json()["network"] == {"ngf": 4, "n_blocks": 1}


def test_an_unknown_model_is_not_found(client):
    answer = client.get("/models/nothing")
    assert answer.status_code == 404
    assert "borrower, missing, tiny" in answer.json()["detail"]


def test_what_a_worker_holds_in_memory_is_shown(service, settings):
    (settings.weights_dir / "tiny").rename(settings.weights_dir / "fake")
    card = settings.weights_dir / "fake" / "model.json"
    card.write_text(card.read_text().replace('"tiny"', '"fake"'))
    assert len(service.get("/models/fake").json()["loaded_on"]) == 1


def test_health_needs_nothing(settings, tmp_path):
    settings.redis_url = f"unix://{tmp_path}/none.sock"
    with api(settings) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").status_code == 503


def test_readiness_needs_a_worker(client):
    assert client.get("/readyz").status_code == 503


def test_ready_with_a_worker(service):
    assert service.get("/readyz").json() == {"status": "ok"}


def test_readiness_needs_a_model_that_can_run(service, settings):
    (settings.weights_dir / "tiny" / "weights.safetensors").unlink()
    answer = service.get("/readyz")
    assert answer.status_code == 503
    assert "doppel pull" in answer.json()["detail"]
    assert str(settings.weights_dir) not in answer.text  # anyone may ask


def weights(**networks):
    """A file as ``torch.save`` writes it: of one nameless network, or of several."""
    file = io.BytesIO()
    torch.save(networks.get("only") or networks, file)
    return file.getvalue()


def generator(**form):
    return ResnetGenerator(**TINY, **form).state_dict()


def post(client, content, name="mine", **fields):
    files = {"file": ("latest_net_G_A.pth", content)}
    return client.post("/models", files=files, data={"name": name, **fields})


@pytest.fixture
def adding(settings, client):
    """A client of a service that takes models in. Its preparer has loaded torch, which takes three seconds, once."""
    with preparer(settings, "imports", loaded="models.weights.doctor"):
        yield client


def test_an_uploaded_model_is_in_service_at_once_and_moves_to_another_server(adding, settings):
    several = weights(netG_A=generator(), netG_B=generator(dropout=True), netD_A=PatchDiscriminator(4).state_dict())
    answer = post(adding, several, network="netG_B", licence="CC0", description="horses into zebras")
    assert (answer.status_code, answer.headers["Location"]) == (201, "/models/mine"), answer.text
    model = adding.get("/models/mine").json()
    assert answer.json() == model
    assert (model["licence"], model["network"]["dropout"], model["availability"]) == ("CC0", True, "ready")

    archive = adding.get("/models/mine/archive")
    assert (archive.status_code, archive.headers["Content-Type"]) == (200, "application/zip")
    moved = post(adding, archive.content, "moved")
    assert moved.status_code == 201, moved.text
    assert moved.json() | {"name": "mine", "runs_as": "mine"} == model

    refused = {
        several: (422, "several networks: netG_A"),
        weights(only=PatchDiscriminator(4).state_dict()): (422, "latest_net_G_A.pth is a cyclegan discriminator"),
        b"<html><title>Quota exceeded</title>": (422, "a web page with the title 'Quota exceeded'"),
        archive.content[:-100]: (422, "truncated"),
    }
    for content, (status, words) in refused.items():
        answer = post(adding, content, "other")
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert post(adding, several, "tiny").status_code == 409
    assert adding.get("/models/other").status_code == 404

    job = post(adding, weights(only=generator()), "later", wait=0)
    assert job.status_code == 202
    assert job.json()["links"]["model"] == "/models/later"
    eventually(lambda: adding.get(job.headers["Location"]).json()["status"] == "succeeded")
    assert adding.get(f"{job.headers['Location']}/image").status_code == 409
    assert adding.delete("/models/later").status_code == 204
    eventually(lambda: not list((settings.data_dir / "datasets" / ".incoming").iterdir()))


def test_what_is_said_of_an_upload_is_checked_before_it_is_taken(client):
    for fields, words in (
        ({"name": "../evil"}, "name: a model is named by"),
        ({"image_size": "large"}, "image_size: "),
        ({"padding": "mirror"}, "padding: "),
        ({"domains": "a,a"}, "domains: the names must differ"),
    ):
        answer = post(client, b"", **fields)
        assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
    assert post(client, b"").status_code == 503  # no preparer


def test_a_model_that_is_not_here_cannot_be_exported(client):
    assert client.head("/models/tiny/archive").headers["Content-Type"] == "application/zip"
    assert client.get("/models/missing/archive").status_code == 503
    assert client.get("/models/nothing/archive").status_code == 404


def test_the_commands_move_a_model(settings, tmp_path, monkeypatch, capfd):
    def doppel(*arguments, data_dir):
        monkeypatch.setenv("DOPPEL_WEIGHTS_DIR", str(settings.weights_dir))
        monkeypatch.setenv("DOPPEL_DATA_DIR", str(data_dir))
        return cli.main([*map(str, arguments)]), "".join(capfd.readouterr())

    here, there = tmp_path / "here", tmp_path / "there"
    (tmp_path / "several.pth").write_bytes(weights(netG_A=generator(), netG_B=generator(norm="batch")))
    adding = ("add", tmp_path / "several.pth", "--name", "mine", "--network", "netG_B", "--licence", "CC0")
    status, output = doppel(*adding, data_dir=here)
    assert (status, "added mine" in output) == (0, True), output
    assert doppel("export", "mine", "-o", tmp_path / "mine.zip", data_dir=here)[0] == 0
    status, output = doppel("check", tmp_path / "mine.zip", data_dir=there)
    assert (status, "the exported model 'mine'" in output, "licence: CC0" in output) == (0, True, True)
    assert doppel("add", tmp_path / "mine.zip", data_dir=there)[0] == 0
    status, output = doppel("add", tmp_path / "mine.zip", data_dir=there)
    assert (status, "There is a model 'mine' already" in output, "Traceback" in output) == (1, True, False)
    assert "mine" in doppel("models", data_dir=there)[1]
    assert doppel("export", "missing", data_dir=here)[0] == 1
