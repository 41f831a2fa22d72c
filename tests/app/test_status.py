"""What the server tells of itself: its status and its newest jobs."""

import time

import pytest
import redis
from PIL import Image

from tests.fake_worker import GO, HELD, first_pixel
from tests.pictures import encoded, landscape
from tests.processes import eventually
from worker.contract import PREPARERS
from worker.preparation_queue import PreparerReport

ANN, BEN = "ann-0123456789abcdef", "ben-0123456789abcdef"  # clients, as they name themselves


def send(service, picture=None, client=None):
    image = {"image": encoded(picture or landscape())}
    headers = {"X-Client": client} if client else {}
    return service.post("/translate", files=image, data={"model": "tiny", "wait": "0"}, headers=headers).json()


def test_the_status_counts_what_waits_and_runs(service, settings):
    held = Image.fromarray(first_pixel(HELD))
    first = send(service, held)
    eventually(lambda: service.get(first["links"]["self"]).json()["status"] == "running")
    for _ in range(3):
        send(service)
    status = service.get("/status").json()
    pictures = status["queues"]["pictures"]
    assert (pictures["waiting"], pictures["running"]) == (3, 1)
    assert 0 <= pictures["oldest_waiting_s"] < 600
    assert (status["ready"], status["queue_limit"]) == (True, settings.queue_limit)
    [worker] = status["workers"]
    assert (worker["device"], worker["loaded"]) == ("none", ["fake"])
    assert worker["memory_mb"] > 10
    assert status["disk"]["free_mb"] <= status["disk"]["total_mb"]
    redis.Redis.from_url(settings.redis_url).set(GO, 1, ex=20)
    eventually(lambda: service.get("/status").json()["queues"]["pictures"]["running"] == 0)


def test_a_server_without_a_worker_says_that_it_is_not_ready(client):
    status = client.get("/status").json()
    assert (status["ready"], status["workers"], status["trainers"]) == (False, [], [])
    assert status["queues"]["pictures"] == {"waiting": 0, "running": 0, "oldest_waiting_s": None}


def test_the_status_says_when_a_preparer_was_last_seen(client, settings):
    report = PreparerReport(name="p", pid=1, host="h", queue="doppel-preparation", seen_at=time.time() - 7)
    redis.Redis.from_url(settings.redis_url).hset(PREPARERS, "p", report.model_dump_json())
    [preparer] = client.get("/status").json()["preparers"]
    assert (preparer["name"], preparer["queue"]) == ("p", "doppel-preparation")
    assert 7 <= preparer["seen_s"] < 30


def test_jobs_are_listed_to_whom_they_belong_newest_first_page_by_page(service):
    ids = [send(service, client=ANN)["id"] for _ in range(5)]
    others = [send(service, client=BEN)["id"], send(service)["id"]]
    service.delete(f"/jobs/{ids[4]}")
    eventually(lambda: all(service.get(f"/jobs/{id}").json()["status"] != "queued" for id in ids))
    found, address = [], "/jobs?limit=2"
    while address:
        page = service.get(address, headers={"X-Client": ANN})
        found += [job["id"] for job in page.json()]
        address = page.links.get("next", {}).get("url")
    assert found == ids[::-1]
    assert page.json()[0] == service.get(f"/jobs/{ids[0]}").json()
    assert [job["id"] for job in service.get("/jobs", headers={"X-Client": BEN}).json()] == others[:1]
    # One that is remembered no longer has none before it, rather than all.
    assert service.get(f"/jobs?before={others[1]}", headers={"X-Client": ANN}).json() == []
    assert service.get("/jobs?limit=0", headers={"X-Client": ANN}).status_code == 422


@pytest.mark.parametrize("name", [None, "short", "a" * 65, "doppel:jobs-of:*"])
def test_who_names_no_client_gets_no_list(client, name):
    answer = client.get("/jobs", headers={"X-Client": name} if name else {})
    assert answer.status_code == 422
    assert "client" in answer.json()["detail"].lower()


def test_a_malformed_client_is_refused_with_the_order(service):
    image = {"image": encoded(landscape())}
    answer = service.post("/translate", files=image, data={"model": "tiny"}, headers={"X-Client": "short"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("X-Client: ")


def test_a_sample_picture_is_served_where_there_is_one(client, settings):
    assert client.get("/models/tiny").json()["sample"] is None
    assert client.get("/models/tiny/sample").status_code == 404
    folder = settings.weights_dir / "tiny"
    (folder / "sample.jpg").write_bytes(encoded(landscape(), "JPEG"))
    assert client.get("/models/tiny").json()["sample"] == "/models/tiny/sample"
    etag = client.get("/models/tiny/sample").headers["ETag"]
    assert client.get("/models/tiny/sample", headers={"If-None-Match": etag}).status_code == 304
    answer = client.get("/models/tiny/sample")
    assert (answer.headers["Content-Type"], answer.content) == ("image/jpeg", (folder / "sample.jpg").read_bytes())
    (folder / "sample.png").write_bytes(encoded(landscape()))
    assert client.get("/models/tiny/sample").headers["Content-Type"] == "image/png"
    assert client.get("/models/nothing/sample").status_code == 404
