"""The calls about a job."""

import json

import pytest

from tests.app.test_translate import PHOTO, picture, upload
from tests.fake_worker import GO, HELD
from tests.processes import eventually


def start(client, data=PHOTO, model="tiny"):
    answer = client.post("/translate", files=upload(data), data={"model": model, "wait": "0"})
    assert answer.status_code == 202, answer.text
    return answer.json()


def events(client, url):
    """The jobs that a job's event stream shows, to its end."""
    with client.stream("GET", url) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_job_can_be_read(client):
    job = start(client)
    read = client.get(job["links"]["self"]).json()
    assert read == job
    assert set(read) == {
        *("id", "kind", "model", "status", "position", "progress", "created_at", "started_at", "finished_at"),
        *("timings", "error", "links"),
    }


@pytest.mark.parametrize("path", ["/jobs/nothing", "/jobs/nothing/image", "/jobs/nothing/events"])
def test_an_unknown_job_is_not_found(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_picture_that_is_not_ready_is_a_conflict(client):
    answer = client.get(start(client)["links"]["image"])
    assert answer.status_code == 409
    assert "queued" in answer.json()["detail"]


def test_a_picture_that_expired_is_gone(service, queue):
    job = start(service)
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "succeeded")
    queue.connection.delete(f"doppel:picture:{job['id']}:out")
    assert service.get(job["links"]["image"]).status_code == 410


def test_events_tell_a_job_from_queue_to_end(service, queue):
    job = start(service, picture(HELD))
    told = []
    for entry in events(service, job["links"]["events"]):
        told.append(entry)
        if entry["status"] == "running":
            queue.connection.set(GO, 1)
    assert [entry["status"] for entry in told][-2:] == ["running", "succeeded"]
    assert {entry["id"] for entry in told} == {job["id"]}


def test_events_of_an_ended_job_are_its_end(client):
    job = start(client)
    client.delete(job["links"]["self"])
    assert [entry["status"] for entry in events(client, job["links"]["events"])] == ["canceled"]


def test_a_queued_job_can_be_canceled_and_canceled_again(client):
    job = start(client)
    for _ in range(2):
        answer = client.delete(job["links"]["self"])
        assert answer.status_code == 200
        assert answer.json()["status"] == "canceled"
    assert client.get(job["links"]["image"]).status_code == 409


def test_a_running_job_can_be_canceled(service, queue):
    job = start(service, picture(HELD))
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "running")
    assert service.delete(job["links"]["self"]).json()["status"] == "canceled"
    queue.connection.set(GO, 1)
    other = service.post("/translate", files=upload(), data={"model": "tiny"})
    assert other.status_code == 200
    assert service.get(job["links"]["self"]).json()["status"] == "canceled"


def test_an_ended_job_cannot_be_canceled(service):
    answer = service.post("/translate", files=upload(), data={"model": "tiny"})
    assert service.delete(f"/jobs/{answer.headers['x-job-id']}").status_code == 409


def test_a_job_ahead_that_goes_away_moves_the_next_one_up(client):
    first, second = start(client), start(client)
    assert client.get(second["links"]["self"]).json()["position"] == 1
    client.delete(first["links"]["self"])
    assert client.get(second["links"]["self"]).json()["position"] == 0
