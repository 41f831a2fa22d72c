"""The ids of requests: given or made, sent back, and in the log lines of all who work for one."""

import io
import json
import logging
import re

import httpx
import pytest
from PIL import Image

from app import status_command
from app.routes import health
from models import logs
from models.logs import JsonLines
from tests.fake_worker import RAISES, first_pixel
from tests.pictures import encoded, landscape
from tests.processes import api, eventually, fake_worker
from worker.contract import JobMeta


@pytest.fixture
def lines():
    """A function that gives what this process has logged so far, as JSON logs show it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.setLevel(before)
    logger.removeHandler(handler)


def test_an_id_is_sent_back(client):
    answer = client.get("/models", headers={"X-Request-Id": "edge:7f3.2/a+b=@c-d"})
    assert answer.headers["X-Request-Id"] == "edge:7f3.2/a+b=@c-d"
    refused = client.get("/healthz", headers={"Host": "attacker.example", "X-Request-Id": "edge-2"})
    assert (refused.status_code, refused.headers["X-Request-Id"]) == (400, "edge-2")


@pytest.mark.parametrize("given", [None, "", "a" * 129, 'quote"', "two words", "{}", b"\xff"])
def test_an_id_is_made_where_none_that_can_be_logged_is_given(client, given):
    headers = {} if given is None else {"X-Request-Id": given}
    ids = [client.get("/healthz", headers=headers).headers.get_list("X-Request-Id") for _ in range(2)]
    assert all(len(one) == 1 and re.fullmatch("[0-9a-f]{32}", one[0]) for one in ids)
    assert ids[0] != ids[1]


def test_an_id_goes_through_the_queue_into_the_workers_log(settings, lines, tmp_path, capfd):
    with (
        api(settings.model_copy(update={"log_format": "json"})) as client,
        fake_worker(settings.redis_url, "--json-log"),
    ):
        for request_id, picture in (("good", landscape()), ("bad", Image.fromarray(first_pixel(RAISES)))):
            files = {"image": encoded(picture)}
            client.post("/translate", files=files, data={"model": "tiny"}, headers={"X-Request-Id": request_id})
        client.get("/healthz")
    written = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    of = {
        one: [line for line in written if line.get("request_id") == one and line["logger"] == "doppel.worker"]
        for one in ("good", "bad")
    }
    [batch] = of["good"]
    assert batch["level"] == "info"
    assert batch["message"].startswith("tiny/translation/")
    [failed] = [line for line in of["bad"] if line["level"] == "error"]
    assert "this picture always fails" in failed["traceback"]
    answered = [line for line in lines() if line["logger"] == "doppel.access"]
    assert [(line["request_id"], line["status"]) for line in answered] == [("good", 200), ("bad", 500)]
    assert {line["path"] for line in answered} == {"/translate"}
    assert all(line["duration_ms"] > 0 for line in answered)


def test_an_unexpected_error_is_found_by_its_id(settings, lines, monkeypatch):
    def fail(*_):
        raise RuntimeError("a fault of the server")

    with api(settings) as client:
        monkeypatch.setattr(health, "Health", fail)
        answer = client.get("/healthz", headers={"X-Request-Id": "edge-3"})
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "edge-3")
        found = eventually(lambda: [line for line in lines() if "traceback" in line])
        assert [(line["request_id"], "a fault of the server" in line["traceback"]) for line in found] == [
            ("edge-3", True)
        ]
        metrics = httpx.get(f"{client.base_url}/metrics", trust_env=False)  # the server ends a connection that failed
        assert 'doppel_rejections_total{status="500",title="Something went wrong"} 1.0' in metrics.text


def test_a_line_of_a_batch_names_all_its_requests(lines):
    with logs.about(JobMeta(model="", request_id=one) for one in ("a", None, "b")):
        logging.getLogger("doppel.test").info("%d jobs", 3)
    logging.getLogger("doppel.test").info("none")
    first, second = lines()
    assert (first["message"], first["request_ids"], "request_id" in first) == ("3 jobs", ["a", "b"], False)
    assert not {"request_id", "request_ids"} & set(second)


def test_a_server_says_its_status_in_a_terminal(service, settings, capsys, monkeypatch):
    url = str(service.base_url)
    assert status_command.show_status(settings, url, as_json=False) == 0
    said = capsys.readouterr().out
    assert re.match(rf"Doppel \S+ at {url} is ready\.\n", said)
    assert re.search(r"^pictures +0 waiting, at most 1000; 0 running$", said, re.MULTILINE)
    assert re.search(r"^worker +doppel-\S+: none, \d+ MB, fake; seen \d+ s ago$", said, re.MULTILINE)
    assert re.search(r"^trainer +none$", said, re.MULTILINE)
    monkeypatch.setenv("DOPPEL_URL", url)
    assert status_command.show_status(settings, None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["workers"][0]["loaded"] == ["fake"]


def test_a_server_that_does_not_answer_is_named_in_one_line(client, settings, capsys):
    assert status_command.show_status(settings, "http://127.0.0.1:9", as_json=False) == 1
    assert status_command.show_status(settings, f"{client.base_url}/nowhere", as_json=False) == 1
    refused, elsewhere = capsys.readouterr().err.splitlines()
    assert refused.startswith("doppel: http://127.0.0.1:9: ")
    assert "There is nothing at /nowhere/status" in elsewhere
