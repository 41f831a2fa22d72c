"""The catalog over HTTP, and health."""

from tests.processes import api


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
    assert str(settings.weights_dir) in answer.json()["detail"]
    assert "doppel pull" in answer.json()["detail"]
