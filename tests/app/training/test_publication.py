"""Runs' generators in service: published, in versions, rolled back, removed."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.app.training.client import picture, start, wait
from tests.pictures import decoded, encoded, landscape
from tests.processes import child, eventually
from tests.training import ENDLESS, cyclegan
from worker import contract
from worker.connection import connect
from worker.inference_queue import rq_queue


def test_a_published_model_is_served_at_once_and_rolled_back(finished, service):
    run = finished[0]
    photo = encoded(landscape(64, 64))

    def translate(version):
        answer = service.post("/translate", files={"image": photo}, data={"model": "colors-model"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Model"] == "colors-model"
        credentials = service.post("/verify", files={"image": answer.content}).json()
        assert (credentials["model"], credentials["version"]) == ("colors-model", version)
        return np.asarray(picture(answer))

    first = service.post(f"{run}/publish", json={"name": "colors-model", "direction": "AtoB"})
    assert (first.status_code, first.json()) == (201, {"name": "colors-model", "version": 1})
    there = translate("1")
    assert service.post(f"{run}/publish", json={"name": "colors-model", "direction": "BtoA"}).json()["version"] == 2
    assert not np.array_equal(translate("2"), there)
    sample_file = service.get("/models/colors-model/sample").content
    assert b"compositeWithTrainedAlgorithmicMedia" in sample_file
    sample = decoded(sample_file)
    sheet = decoded(service.get(f"{run}/samples/last").content)
    rows = service.get(f"{run}/samples/last/rows").json()  # A, translated, and back; then B, translated, and back
    assert [row["role"] for row in rows] == ["input", "output", "cycle"] * 2
    cells = [row["cells"][0] for row in rows[3:5]]
    for (left, top, right, bottom), half in zip(cells, (sample[:, :32], sample[:, -32:]), strict=True):
        np.testing.assert_array_equal(half, sheet[top:bottom, left:right])
    card = service.get("/models/colors-model").json()
    assert (card["version"], card["training"]["dataset"], card["training"]["direction"]) == (2, "colors", "BtoA")
    assert service.post("/models/colors-model/rollback").json() == {"name": "colors-model", "version": 1}
    assert np.array_equal(translate("1"), there)
    assert service.post("/models/colors-model/rollback").status_code == 409
    assert service.post(f"{run}/publish", json={"name": "colors-model", "step": 15}).json()["version"] == 3


def test_versions_that_are_published_at_once_are_all_whole(finished, service):
    def publish(n):
        return service.post(f"{finished[0]}/publish", json={"name": "many", "direction": ("AtoB", "BtoA")[n % 2]})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(publish, range(8)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 9))
    answer = service.post("/translate", files={"image": encoded(landscape(64, 64))}, data={"model": "many"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"name": "tiny"}, 409),
        ({"name": "../evil"}, 422),
        ({"name": ".hidden"}, 422),
        ({"name": "x", "direction": "AtoC"}, 422),
        ({"name": "x", "step": 7}, 409),
        ({"name": "x", "step": "first"}, 422),
        ({"name": "x", "step": True}, 422),
        ({}, 422),
    ],
)
def test_what_cannot_be_published_is_refused(finished, service, asked, status):
    assert service.post(f"{finished[0]}/publish", json=asked).status_code == status
    assert service.get("/models/x").status_code == 404


def test_a_model_that_ships_has_no_versions(service):
    assert service.post("/models/tiny/rollback").status_code == 409
    assert service.post("/models/none/rollback").status_code == 404


def test_fine_tuning_starts_from_a_published_model(service):
    options = {name: value for name, value in cyclegan(init_from="tiny", epochs=1).items() if name not in ("ngf",)}
    run = wait(service, start(service, "cyclegan", options), "succeeded", "failed")
    assert run["status"] == "succeeded", run["error"]
    assert (run["options"]["init_from"], run["options"]["ngf"]) == ("tiny", 4)


def test_a_stargan_run_is_published_and_answers(finished_stargan, service):
    run = finished_stargan
    assert service.get(run).json()["lambda_ds"] is not None
    assert picture(service.get(f"{run}/curves.png"))
    assert service.post(f"{run}/publish", json={"name": "s", "direction": "AtoB"}).status_code == 422
    assert service.post(f"{run}/publish", json={"name": "styles"}).status_code == 201
    files = {"image": encoded(landscape(64, 64)), "reference": encoded(landscape(80, 80))}
    answer = service.post("/stargan/reference", files=files, data={"model": "styles", "domain": "blue"})
    assert picture(answer).size == (64, 64)
    source = {"image": files["image"]}
    code = service.post("/stargan/style", files=source, data={"model": "styles"}).text
    styled = {"model": "styles", "domain": "blue", "style": code}
    assert picture(service.post("/translate", files=source, data=styled)).size == (64, 64)


def test_a_published_model_can_be_removed_and_its_name_is_of_one_family(finished, finished_stargan, service, place):
    run = finished[0]
    assert service.post(f"{run}/publish", json={"name": "passing"}).status_code == 201
    answer = service.post(f"{finished_stargan}/publish", json={"name": "passing"})
    assert (answer.status_code, "cyclegan" in answer.json()["detail"]) == (409, True)
    shape = {"files": {"image": encoded(landscape())}, "data": {"model": "passing"}}
    assert picture(service.post("/translate", **shape)).size == (96, 64)
    before = start(service, "cyclegan", cyclegan(**ENDLESS))
    waiting = start(service, "cyclegan", cyclegan(init_from="passing"))
    refused = service.delete("/models/passing")
    assert (refused.status_code, waiting.split("/")[-1] in refused.json()["detail"]) == (409, True)
    for one in (waiting, before):
        service.post(f"{one}/stop?force=true")
        wait(service, one, "stopped")
    assert service.delete("/models/passing").status_code == 204
    assert service.post("/translate", **shape).status_code == 422
    assert service.delete("/models/passing").status_code == 404
    assert service.delete("/models/tiny").status_code == 409
    assert not list((place.data_dir / "versions").glob("*passing*"))
    assert service.post(f"{finished_stargan}/publish", json={"name": "passing"}).json()["version"] == 1


def test_a_model_that_is_removed_while_a_picture_waits_for_it_is_said_to_be(finished, service, place):
    assert service.post(f"{finished[0]}/publish", json={"name": "brief"}).status_code == 201
    queue = rq_queue(connect(place.redis_url, patience_s=1))
    worker = eventually(lambda: child(os.getpid(), "app.cli worker"))
    asked = {"files": {"image": encoded(landscape())}, "data": {"model": "brief"}}
    os.kill(worker, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(service.post, "/translate", **asked)
            eventually(lambda: queue.count or queue.intermediate_queue.get_job_ids())
            assert service.delete("/models/brief").status_code == 204
            os.kill(worker, signal.SIGCONT)
            answer = waiting.result()
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (answer.status_code, "'brief' was taken out of service" in answer.json()["detail"]) == (409, True)


def test_what_is_repeated_because_the_api_died_is_done_once(finished, service, place):
    """Of what was published and rolled back under a key, although nobody could note that it was done."""
    in_service = place.data_dir / "models" / "once"

    def publish(key):
        return service.post(f"{finished[0]}/publish", json={"name": "once"}, headers={"Idempotency-Key": key}).json()

    def roll_back(key):
        return service.post("/models/once/rollback", headers={"Idempotency-Key": key}).json()

    def die():
        with connect(place.redis_url, patience_s=1) as connection:
            for key in connection.scan_iter(f"{contract.REQUESTS}*", _type="hash"):
                connection.hdel(key, "done", "answer")

    assert [publish(key)["version"] for key in ("first", "second")] == [1, 2]
    die()
    in_service.unlink()
    in_service.symlink_to("../versions/once/1")  # as if it had died just before the second went into service
    assert publish("second")["version"] == 2
    die()
    assert publish("first")["version"] == 1
    assert service.get("/models/once").json()["version"] == 2  # which came later
    assert publish("third")["version"] == 3
    assert roll_back("back")["version"] == 2
    assert roll_back("further-back")["version"] == 1
    die()
    for repeated, version in [
        (lambda: publish("third"), 3),
        (lambda: publish("second"), 2),
        (lambda: roll_back("back"), 2),
    ]:
        assert repeated()["version"] == version
        assert service.get("/models/once").json()["version"] == 1  # as the last rollback left it
