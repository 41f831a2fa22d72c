"""Fetches of weights: one job for whoever asks, by a request that names the model or by the call for it."""

import redis

from app import webhooks
from models.store.model_card import ModelFile
from tests.app.test_models import generator, weights
from tests.conftest import add_model
from tests.pictures import encoded, landscape
from tests.processes import api, eventually, file_server, fresh, preparer
from worker.contract import FETCH_QUEUE, HOOKS, PREPARERS
from worker.preparation_queue import PreparerReport
from worker.webhooks import Hook

ANN = "ann-0123456789abcdef"  # a client, as it names itself


def online(settings):
    """A client of a server that may download."""
    return api(settings.model_copy(update={"offline": False}))


def report_preparer(settings):
    """Make the server believe in a preparer, which will never come."""
    report = PreparerReport(name="p", pid=1, host="h", queue=FETCH_QUEUE, seen_at=fresh())
    redis.Redis.from_url(settings.redis_url).hset(PREPARERS, "p", report.model_dump_json())


def translate(client, model):
    return client.post("/translate", files={"image": encoded(landscape())}, data={"model": model, "wait": "0"})


def test_a_fetch_is_refused_where_it_can_do_nothing(client, settings):
    assert client.post("/models/tiny/fetch").status_code == 409
    assert "DOPPEL_OFFLINE" in client.post("/models/missing/fetch").json()["detail"]
    with online(settings) as other:
        assert "doppel preparer" in other.post("/models/missing/fetch").json()["detail"]
        assert "not fetched yet" in translate(other, "missing").json()["detail"]


def test_while_a_fetch_is_under_way_it_is_the_one_for_everybody(settings):
    report_preparer(settings)
    with online(settings) as client:
        first, second = (client.post("/models/missing/fetch", headers={"X-Client": ANN}) for _ in range(2))
        job = first.json()
        assert (first.status_code, job["kind"], job["status"]) == (202, "fetch", "queued")
        assert (job["links"]["model"], job["links"]["image"]) == ("/models/missing", None)
        assert second.headers["Location"] == first.headers["Location"] == job["links"]["self"]
        assert [listed["id"] for listed in client.get("/jobs", headers={"X-Client": ANN}).json()] == [job["id"]]
        assert client.get("/models/missing").json()["fetch_job"] == job["id"]
        assert client.get("/status").json()["queues"]["fetches"]["waiting"] == 1
        assert "being fetched now" in translate(client, "missing").json()["detail"]
        assert client.get("/models/missing").json()["fetch_job"] == job["id"]

        assert client.delete(first.headers["Location"]).json()["status"] == "canceled"
        assert client.get("/models/missing").json()["fetch_job"] is None
        assert client.post("/models/missing/fetch").json()["id"] != job["id"]


def test_a_fetch_is_reported_to_all_who_asked_until_too_many_wait(settings, monkeypatch):
    report_preparer(settings)
    monkeypatch.setattr(webhooks, "MOST_WAITING", 2)
    with online(settings) as client:
        answers = [
            client.post("/models/missing/fetch", json={"webhook": f"https://example.org/{name}"}) for name in "abc"
        ]
        assert [answer.status_code for answer in answers] == [202, 202, 503]
        job_id = answers[0].json()["id"]
        hooks = [Hook.model_validate_json(data) for data in redis.Redis.from_url(settings.redis_url).hvals(HOOKS)]
        assert {(hook.id, hook.url[-1]) for hook in hooks} == {(job_id, "a"), (job_id, "b")}
        assert client.post("/models/missing/fetch").json()["id"] == job_id


def test_the_first_use_of_a_model_begins_its_fetch(settings):
    report_preparer(settings)
    with online(settings) as client:
        assert translate(client, "borrower").json()["model"] == "tiny"
        begun = client.get("/models/borrower").json()["fetch_job"]
        assert client.get(f"/jobs/{begun}").json()["status"] == "queued"
        assert client.post("/models/borrower/fetch").json()["id"] == begun
        assert client.get("/status").json()["queues"]["fetches"]["waiting"] == 1


def test_weights_are_fetched_by_a_preparer(settings, tmp_path):
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    (upstream / "far.pth").write_bytes(weights(only=generator()))
    with (
        file_server(upstream) as url,
        online(settings) as client,
        preparer(settings, "fetches"),
    ):
        file = ModelFile(name="far.pth", url=f"{url}/far.pth", format="pytorch")
        add_model(settings.weights_dir, "far", ready=False, files=[file])
        fetched = client.post("/models/far/fetch").headers["Location"]
        failed = client.post("/models/missing/fetch").headers["Location"]
        ended = eventually(lambda: (job := client.get(failed).json())["status"] == "failed" and job)
        assert ended["error"]["code"] == "fetch_failed"
        assert "cannot be reached" in ended["error"]["detail"]
        assert client.get(fetched).json()["status"] == "succeeded"
        assert client.get(f"{fetched}/image").status_code == 409
        model = client.get("/models/far").json()
        assert (model["availability"], model["can_be_removed"]) == ("ready", False)
