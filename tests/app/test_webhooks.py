"""Webhooks: what they say, and that they arrive."""

import http.server
import re
import socketserver
import threading
import time
from types import SimpleNamespace

import pytest

from app import webhook_sender
from app.settings import Settings
from app.webhook_signing import own_secret, secret_of
from doppel import verify_webhook
from models.store.options import CycleGANOptions
from models.store.run_lock import lock_run
from models.store.run_status import RunState, RunStatus, now, write_status
from models.store.runs import RunStore
from tests.app.test_keys import describe, key, line
from tests.app.test_translate import picture, upload
from tests.app.webhook_receiver import Receiver
from tests.fake_worker import HELD, RAISES
from tests.processes import ROOT, api, eventually, fake_worker
from worker.webhooks import Hook, Hooks

ALLOWED = {"webhook_http": True, "webhook_private": ["127.0.0.1", "localhost"]}


@pytest.fixture(scope="module")
def impatient():
    """Lets what fails be sent again at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhook_sender, "FIRST_RETRY_S", 0.02)
        patch.setattr(webhook_sender, "RETRY_FACTOR", 1.0)
        patch.setattr(webhook_sender, "LOOK_S", 0.02)
        yield


@pytest.fixture(scope="module")
def keyed(redis_server, tmp_path_factory, impatient):
    """A server that may reach this machine and has one API key: its client, and the secret of the key's webhooks."""
    root = tmp_path_factory.mktemp("keyed")
    describe(root / "weights" / "tiny", "tiny")
    keys = root / "keys"
    keys.write_text(line("ann", "scopes=admin"))
    places = {"weights_dir": root / "weights", "data_dir": root / "var", "redis_url": redis_server.url}
    with api(Settings(api_keys_file=keys, offline=True, **ALLOWED, **places)) as client:
        client.headers.update(key("ann"))
        yield SimpleNamespace(client=client, data_dir=root / "var", secret=secret_of(own_secret(root / "var"), "ann"))


@pytest.fixture
def client(keyed, redis_url):
    """A client of that server, whose Redis is empty."""
    return keyed.client


@pytest.fixture
def open_service(settings, impatient, redis_url):
    """A client of a service without keys, with a worker."""
    with api(settings.model_copy(update=ALLOWED)) as client, fake_worker(redis_url):
        yield client


def translate(client, color=(1, 2, 3), repeated=None, **fields):
    headers = {"Idempotency-Key": repeated} if repeated else {}
    data = {"model": "tiny", "wait": "0", **fields}
    return client.post("/translate", files=upload(picture(color)), data=data, headers=headers)


def canceled(client, **fields):
    """A job that has ended, for which no worker is needed; its id."""
    job_id = translate(client, **fields).headers["X-Job-Id"]
    client.delete(f"/jobs/{job_id}")
    return job_id


def messages(receiver, count=1):
    """The first messages that the receiver gets, once it has so many."""
    eventually(lambda: len(receiver.got) >= count)
    return receiver.got[:count]


def metric(client, outcome):
    found = re.search(rf'doppel_webhooks_total{{outcome="{outcome}"}} (\S+)', client.get("/metrics").text)
    return float(found[1]) if found else 0.0


def test_the_end_of_a_job_arrives_as_the_job_is_shown(open_service, settings):
    service = open_service
    with Receiver() as receiver:
        jobs = [translate(service, color, webhook=receiver.url).json() for color in ((1, 2, 3), RAISES)]
        held = translate(service, HELD, webhook=receiver.url).json()
        eventually(lambda: service.get(held["links"]["self"]).json()["status"] == "running")
        service.delete(held["links"]["self"])
        got = messages(receiver, 3)
    secret = secret_of(own_secret(settings.data_dir), None)
    told = {message["id"]: message for message in (verify_webhook(body, head, secret) for _, head, body in got)}
    assert told == {job["id"]: service.get(job["links"]["self"]).json() for job in (*jobs, held)}
    assert [told[job["id"]]["status"] for job in (*jobs, held)] == ["succeeded", "failed", "canceled"]
    assert {path for path, _, _ in got} == {"/done?token=1"}
    eventually(lambda: metric(service, "delivered") == 3)
    assert "doppel_webhooks_waiting 0.0" in service.get("/metrics").text


def test_a_message_is_sent_again_under_its_id_until_it_is_taken(client):
    with Receiver(500, 503, 204) as receiver:
        canceled(client, webhook=receiver.url)
        got = messages(receiver, 3)
        eventually(lambda: metric(client, "delivered") == 1)
        assert len(receiver.got) == 3
    assert len({head["Webhook-Id"] for _, head, _ in got}) == len({body for _, _, body in got}) == 1
    assert metric(client, "failed") == 2


@pytest.mark.parametrize(
    ("status", "attempts", "outcome"), [(500, webhook_sender.MOST_ATTEMPTS, "given_up"), (410, 1, "refused")]
)
def test_a_message_that_is_not_wanted_is_given_up(client, status, attempts, outcome, caplog):
    with Receiver(status) as receiver:
        canceled(client, webhook=receiver.url.replace("/done", ""))
        eventually(lambda: metric(client, outcome) == 1)
        assert len(receiver.got) == attempts
    assert "doppel_webhooks_waiting 0.0" in client.get("/metrics").text
    assert any("is given up" in line and "token" not in line for line in caplog.messages)


def test_what_a_dead_sender_had_taken_is_sent_by_another(client, keyed, queue):
    with Receiver() as receiver:
        job = translate(client, webhook=receiver.url).json()
        [hook] = eventually(lambda: Hooks(queue.connection).take(at_most=10, lease_s=0.5))  # and dies
        client.delete(job["links"]["self"])
        [(_, head, body)] = messages(receiver)
        eventually(lambda: metric(client, "delivered") == 1)
    assert (head["Webhook-Id"], hook.owner) == (hook.message_id, "ann")
    assert verify_webhook(body, head, keyed.secret)["status"] == "canceled"


def test_a_repeat_orders_no_second_message(client):
    with Receiver() as receiver:
        first, again = (translate(client, repeated="one", webhook=receiver.url).headers["X-Job-Id"] for _ in range(2))
        assert first == again
        client.delete(f"/jobs/{first}")
        assert translate(client, repeated="one", webhook=receiver.url + "&other").status_code == 422
        canceled(client, webhook=receiver.url)
        got = messages(receiver, 2)
        eventually(lambda: metric(client, "delivered") == 2)
        assert len(receiver.got) == 2
    assert len({head["Webhook-Id"] for _, head, _ in got}) == 2


def test_a_slow_receiver_holds_up_no_other(client):
    with Receiver() as slow, Receiver() as quick:
        slow.go.clear()
        for _ in range(webhook_sender.MOST_PER_HOST + 3):
            canceled(client, webhook=slow.url)
        messages(slow, webhook_sender.MOST_PER_HOST)
        canceled(client, webhook=quick.url.replace("127.0.0.1", "localhost"))
        messages(quick)
        assert len(slow.got) == webhook_sender.MOST_PER_HOST
        slow.go.set()
        eventually(lambda: metric(client, "delivered") == webhook_sender.MOST_PER_HOST + 4)
        assert len(slow.got) == webhook_sender.MOST_PER_HOST + 3


def test_the_receiver_of_the_documentation_takes_messages(client, keyed, monkeypatch, capsys):
    [example] = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "webhooks.md").read_text(), re.M | re.S)
    servers = []

    def keep(server):
        servers.append(server)

    monkeypatch.setattr(http.server.HTTPServer, "serve_forever", keep)
    monkeypatch.setenv("WEBHOOK_SECRET", keyed.secret)
    exec(example.replace("9000", "0"), {})
    [server] = servers
    thread = threading.Thread(target=socketserver.BaseServer.serve_forever, args=(server, 0.02))
    thread.start()
    try:
        job_id = canceled(client, webhook=f"http://127.0.0.1:{server.server_port}/")
        eventually(lambda: metric(client, "delivered") == 1)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert f"{job_id} canceled msg_" in capsys.readouterr().out


def test_the_end_of_a_run_arrives_as_the_run_is_shown(client, keyed, queue):
    store, moment = RunStore(keyed.data_dir), now()
    status = RunStatus(status=RunState.RUNNING, created_at=moment, updated_at=moment, owner="ann")
    run = store.create(CycleGANOptions(dataset=keyed.data_dir / "datasets" / "photos"), status)
    with Receiver() as receiver, lock_run(store.folder(run).path):
        Hooks(queue.connection).order(Hook(subject="run", id=run, url=receiver.url, owner="ann"))
        eventually(lambda: queue.connection.zscore("doppel:hooks:due", _message_ids(queue)[0]) > time.time() + 0.1)
        assert not receiver.got
        write_status(store.folder(run).path, status.model_copy(update={"status": RunState.SUCCEEDED}))
        [(_, head, body)] = messages(receiver)
        eventually(lambda: metric(client, "delivered") == 1)
    assert verify_webhook(body, head, keyed.secret) == client.get(f"/training/{run}").json()
    refused = client.post("/training/cut", json={"dataset": "photos", "webhook": "http://10.0.0.1/"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "webhook: only public addresses are accepted.")


def _message_ids(queue):
    return queue.connection.hkeys("doppel:hooks")


def test_a_hook_of_what_is_gone_is_given_up_and_a_strange_one_is_dropped(client, queue):
    Hooks(queue.connection).order(Hook(subject="job", id="gone", url="https://example.org/"))
    Hooks(queue.connection).order(Hook(subject="run", id="gone", url="https://example.org/"))
    queue.connection.zadd("doppel:hooks:due", {"strange": 0})
    eventually(lambda: metric(client, "expired") == 2)
    eventually(lambda: not queue.connection.exists("doppel:hooks", "doppel:hooks:due"))
