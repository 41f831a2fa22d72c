"""POST /translate over real HTTP, with a real worker process behind it."""

import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from app import waiting
from tests.app.bad_uploads import corpus
from tests.conftest import add_model
from tests.fake_worker import GO, HELD, RAISES, first_pixel
from tests.pictures import decoded, encoded, landscape
from tests.processes import api, eventually, fake_worker
from worker.contract import Status

PHOTO = encoded(landscape())


def upload(data=PHOTO):
    return {"image": ("photo.png", data, "image/png")}


def picture(color):
    return encoded(Image.fromarray(first_pixel(color)))


def test_a_picture_comes_back_translated(service):
    answer = service.post("/translate", files=upload(), data={"model": "tiny"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert (decoded(answer.content) == 255 - np.asarray(landscape())).all()
    assert answer.headers["x-model"] == "tiny"
    stages = [stage.split(";")[0] for stage in answer.headers["server-timing"].split(", ")]
    assert stages == ["decode", "queue", "inference", "encode"]
    assert "x-note" not in answer.headers


def test_levels_whose_range_is_not_known_are_spread_and_the_client_is_told(service):
    levels = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)  # 12 bits stored in 16
    answer = service.post("/translate", files=upload(encoded(Image.fromarray(levels))), data={"model": "tiny"})
    assert np.abs(255 - decoded(answer.content)[..., 0].astype(int) - levels * (255 / 4095)).max() <= 2
    assert answer.headers["x-note"].startswith("image: its grey levels have no range that is known")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp,image/png;q=0.5", "image/webp"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "image/png"),
    ],
)
def test_the_client_chooses_the_format(service, accept, media_type):
    answer = service.post("/translate", files=upload(), data={"model": "tiny"}, headers={"Accept": accept})
    assert answer.headers["content-type"] == media_type


def test_the_job_is_the_answer_for_those_who_want_json(service):
    answer = service.post("/translate", files=upload(), data={"model": "tiny"}, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    job = answer.json()
    assert job["status"] == "succeeded"
    assert job["kind"] == "translation"
    assert service.get(job["links"]["image"]).headers["content-type"] == "image/png"


def test_what_no_one_can_answer_is_not_acceptable(service):
    answer = service.post("/translate", files=upload(), headers={"Accept": "text/plain"})
    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_model_without_weights_runs_as_its_fallback_and_says_so(service):
    answer = service.post("/translate", files=upload(), data={"model": "borrower"})
    assert answer.status_code == 200
    assert answer.headers["x-model"] == "tiny"


def test_a_model_without_weights_or_fallback_says_how_to_get_it(service):
    answer = service.post("/translate", files=upload(), data={"model": "missing"})
    assert answer.status_code == 503
    assert "doppel pull missing" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_model_that_appears_is_served_without_a_restart(service, settings):
    assert service.post("/translate", files=upload(), data={"model": "new"}).status_code == 422
    add_model(settings.data_dir / "models", "new", ready=True)
    assert service.post("/translate", files=upload(), data={"model": "new"}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "nothing"}, "There is no model 'nothing'"),
        ({"model": "../tiny"}, "There is no model"),
        ({"model": "x" * 10_000}, "There is no model"),
        ({"resolution": "0"}, "resolution"),
        ({"resolution": "31"}, "32 to 2048"),
        ({"resolution": "2049"}, "32 to 2048"),
        ({"resolution": "-5"}, "resolution"),
        ({"resolution": "big"}, "'native'"),
        ({"resolution": "٣٢٣"}, "resolution"),
        ({"resolution": "9" * 5000}, "resolution"),
        ({"fit": "stretch"}, "'keep', 'square' or 'crop'"),
        ({"wait": "-1"}, "wait"),
        ({"wait": "forever"}, "wait"),
        ({"wait": "nan"}, "wait"),
        ({"wait": "1e9"}, "wait"),
    ],
)
def test_a_bad_field_is_named(client, fields, words):
    answer = client.post("/translate", files=upload(), data={"model": "tiny"} | fields)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    "request_parts",
    [
        {"data": {"model": "tiny"}},
        {"files": {"picture": ("a.png", PHOTO)}},
        {"data": {"image": "text"}},
        {"content": b"{}", "headers": {"Content-Type": "application/json"}},
        {"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": PHOTO, "headers": {"Content-Type": "image/png"}},
        {},
    ],
)
def test_a_request_without_a_picture_is_a_problem_of_the_client(client, request_parts):
    answer = client.post("/translate", **request_parts)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_no_bad_upload_gets_a_5xx_or_costs_the_next_one_anything(service):
    for name, data in corpus().items():
        answer = service.post("/translate", files=upload(data), data={"model": "tiny"})
        assert 400 <= answer.status_code < 500, f"{name}: {answer.status_code} {answer.text}"
        assert answer.json()["detail"], name
    assert len(corpus()) >= 40
    assert service.post("/translate", files=upload(), data={"model": "tiny"}).status_code == 200


def test_an_upload_over_the_limit_is_refused_whole_or_in_pieces(settings):
    settings.max_upload_mb = 1
    body = b"".join(
        [b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n', bytes(3 << 20), b"\r\n--x--\r\n"]
    )

    def pieces():
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with api(settings) as client:
        for content in (body, pieces()):
            answer = client.post("/translate", content=content, headers=headers)
            assert answer.status_code == 413
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_job_that_takes_longer_than_the_wait_is_handed_over(service, queue):
    answer = service.post("/translate", files=upload(picture(HELD)), data={"model": "tiny", "wait": "0.2"})
    assert answer.status_code == 202
    assert answer.json()["status"] in ("queued", "running")
    queue.connection.set(GO, 1)
    location = answer.headers["location"]
    eventually(lambda: service.get(location).json()["status"] == "succeeded")
    assert service.get(f"{location}/image").status_code == 200


def test_a_job_that_somebody_else_cancels_while_it_is_waited_for_is_a_conflict(client, queue):
    def cancel():
        (key,) = eventually(lambda: queue.connection.keys("rq:job:*"))
        queue.cancel(key.decode().split(":")[-1])

    canceler = threading.Thread(target=cancel)
    canceler.start()
    answer = client.post("/translate", files=upload(), data={"model": "tiny"})
    canceler.join()
    assert answer.status_code == 409


def test_without_waiting_the_job_comes_at_once(client):
    answer = client.post("/translate", files=upload(), data={"model": "tiny", "wait": "0"})
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer.json()["position"] == 0


def test_a_job_that_fails_while_it_is_waited_for_is_a_500_with_the_job(service):
    answer = service.post("/translate", files=upload(picture(RAISES)), data={"model": "tiny"})
    assert answer.status_code == 500
    job = answer.json()
    assert job["status"] == "failed"
    assert (job["error"]["code"], job["error"]["title"]) == ("translation_failed", "translation failed")
    assert "always fails" in job["error"]["detail"]


def test_a_client_that_goes_away_takes_its_job_with_it(client, queue):
    with pytest.raises(httpx.ReadTimeout):
        client.post("/translate", files=upload(), data={"model": "tiny"}, timeout=httpx.Timeout(60, read=0.5))
    (key,) = eventually(lambda: queue.connection.keys("rq:job:*"))
    eventually(lambda: queue.state(key.decode().split(":")[-1]).status is Status.CANCELED)


def test_a_full_queue_answers_503_with_the_time_to_try_again(settings):
    settings.queue_limit = 1
    with api(settings) as client:
        assert client.post("/translate", files=upload(), data={"model": "tiny", "wait": "0"}).status_code == 202
        answer = client.post("/translate", files=upload(), data={"model": "tiny", "wait": "0"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_service_without_workers_says_so_after_a_while(client, monkeypatch):
    monkeypatch.setattr(waiting, "NO_WORKER_S", 0)
    answer = client.post("/translate", files=upload(), data={"model": "tiny"})
    assert answer.status_code == 503
    assert "doppel worker" in answer.json()["detail"]


def test_a_lost_redis_is_a_503(settings, tmp_path):
    settings.redis_url = f"unix://{tmp_path}/none.sock"
    with api(settings) as client:
        answer = client.post("/translate", files=upload(), data={"model": "tiny"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"


def test_many_clients_at_once_each_get_their_own_picture(client, redis_url):
    def translated(value, results):
        from PIL import Image

        source = np.full((32, 32, 3), value, np.uint8)
        answer = client.post("/translate", files=upload(encoded(Image.fromarray(source))), data={"model": "tiny"})
        results[value] = answer.status_code == 200 and bool((decoded(answer.content) == 255 - source).all())

    results: dict[int, bool] = {}
    with fake_worker(redis_url, "--fixed-ms", "20"):
        threads = [threading.Thread(target=translated, args=(value, results)) for value in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == dict.fromkeys(range(50), True)


def test_a_worker_killed_under_load_loses_no_request(client, redis_url):
    """Half of the requests are under way when the worker dies; the next worker answers them."""
    answers: list[int] = []

    def ask():
        answers.append(client.post("/translate", files=upload(), data={"model": "tiny"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    with fake_worker(redis_url, "--fixed-ms", "300", "--max-batch", "4") as worker:
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        worker.kill()
    with fake_worker(redis_url):
        for thread in threads:
            thread.join()
    assert answers == [200] * 20
