"""Webhooks: whom they reach, what they say, and that they arrive."""

import asyncio
import contextlib
import http.server
import re
import socket
import socketserver
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app import webhook_sender
from app.settings import Settings
from app.webhook_delivery import Carrier
from app.webhook_signing import Secrets, own_secret, secret_of, signed_headers
from app.webhook_targets import Targets
from doppel import BadSignature, verify_webhook
from models.errors import Invalid
from models.store.options import CycleGANOptions
from models.store.run_lock import lock_run
from models.store.run_status import RunState, RunStatus, now, write_status
from models.store.runs import RunStore
from tests.app.test_keys import describe, key, line
from tests.app.test_translate import picture, upload
from tests.fake_worker import HELD, RAISES
from tests.processes import ROOT, api, eventually, fake_worker
from worker.webhooks import Hook, Hooks

ALLOWED = {"webhook_http": True, "webhook_private": ["127.0.0.1", "localhost"]}


class Receiver:
    """An HTTP server on loopback that keeps what it gets and answers with these statuses, the last of them for ever."""

    def __init__(self, *statuses, headers=(), context=None):
        self.got = []
        self.go = threading.Event()
        self.go.set()
        left = list(statuses) or [204]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.got.append((handler.path, dict(handler.headers), body))
                self.go.wait(30)
                handler.send_response(left.pop(0) if len(left) > 1 else left[0])
                for header in headers:
                    handler.send_header(*header)
                with contextlib.suppress(OSError):
                    handler.end_headers()

            def log_message(handler, *arguments):  # noqa: N805
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/done?token=1"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


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


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "//example.org/",
        "https://",
        "https://user@example.org/",
        "https://user:password@example.org/",
        "https://example.org/#part",
        "https://example.org:22/",
        "https://example.org:99999/",
        "https://exam ple.org/",
        "https://example.org\\@127.0.0.1/",
        "https://[::1",
        f"https://example.org/{'a' * 1000}",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::10.0.0.1]/",
        "https://[64:ff9b::10.0.0.1]/",
        "https://[2002:a00:1::]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[2606:4700::1111%25eth0]/",
        "https://167772161/",
        "https://012.0.0.1/",
        "https://0xa.0.0.1/",
        "https://10.1/",
        "https://10.0.0.1./",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://localhost/",
        "https://redis:6379/",
        "https://a.localhost/",
    ],
)
def test_addresses_that_are_never_reached_are_refused(url):
    with pytest.raises(Invalid, match=r"^webhook: "):
        Targets(http=False, private=["192.0.2.0/24"]).parse(url)


def test_what_the_operator_lists_is_reached():
    targets = Targets(http=True, private=["10.0.0.0/8", "::1", "receiver", "*.corp.example"])
    for url in (
        "http://10.1.2.3/",
        "http://[::1]:8000/",
        "http://[::ffff:10.0.0.1]/",
        "http://receiver/",
        "http://1.1.1.1/",
    ):
        targets.parse(url)
    assert targets.permits("a.corp.example", ip_address("192.168.0.1"))
    assert not targets.permits("corp.example.org", ip_address("192.168.0.1"))
    assert not targets.permits("receiver.example.org", ip_address("127.0.0.1"))
    with pytest.raises(Invalid):
        Targets(http=False, private=[]).parse("http://1.1.1.1/")


def carried(url, monkeypatch=None, names=None, **options):
    """How a delivery goes, where these names have these addresses, one look-up after the other."""
    if names is not None:
        answers = iter(names)

        def look_up(host, port, **more):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
    targets = Targets(http=True, private=["127.0.0.1"])

    async def deliver():
        carrier = Carrier(targets, **options)
        try:
            return await carrier.deliver(targets.parse(url), {"Webhook-Id": "1"}, b"{}")
        finally:
            carrier.close()

    return asyncio.run(deliver())


@pytest.mark.parametrize("addresses", [["192.168.0.1"], ["127.0.0.1", "169.254.169.254"], ["::ffff:10.0.0.1"]])
def test_a_name_with_a_private_address_is_not_connected_to(addresses, monkeypatch):
    with Receiver() as receiver:
        outcome = carried(receiver.url.replace("127.0.0.1", "inside.example.org"), monkeypatch, [addresses])
        assert not receiver.got
    assert (outcome.delivered, outcome.final, outcome.why) == (False, True, "its address is not public")


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    with Receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "rebinding.example.org")
        assert carried(url, monkeypatch, [["127.0.0.1"], ["10.0.0.1"]]).delivered
        [(_, head, _)] = receiver.got
    assert head["Host"].startswith("rebinding.example.org:")


def test_redirections_are_not_followed():
    with Receiver() as aim, Receiver(302, headers=[("Location", aim.url)]) as receiver:
        outcome = carried(receiver.url)
        assert len(receiver.got) == 1
        assert not aim.got
    assert (outcome.delivered, outcome.final) == (False, True)


def test_a_certificate_is_checked_against_the_name_or_address(tmp_path, monkeypatch):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    names = [x509.DNSName("receiver.example.org"), x509.IPAddress(ip_address("2606:4700::1111"))]
    begin = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "both.pem").write_bytes(
        key.private_bytes(pem, form, serialization.NoEncryption()) + certificate.public_bytes(pem)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "both.pem")
    trusted = ssl.create_default_context(cafile=tmp_path / "both.pem")
    with Receiver(context=server) as receiver:
        for host, reached in {
            "receiver.example.org": True,
            "receiver.example.org.": True,
            "[2606:4700::1111]": True,
            "other.example.org": False,
            "[2606:4700::1112]": False,
        }.items():
            url = receiver.url.replace("http://127.0.0.1", f"https://{host}")
            assert carried(url, monkeypatch, [["127.0.0.1"]], verify=trusted).delivered is reached
        assert len(receiver.got) == 3


def test_every_api_key_has_a_secret_of_its_own(tmp_path):
    secret = own_secret(tmp_path)
    assert Secrets(None, tmp_path).of("alice") == secret_of(secret, "alice")
    without_keys = Secrets(None, tmp_path).of(None)  # is no way to those of keys that come later
    assert len({own_secret(tmp_path), secret, without_keys, secret_of(without_keys, "alice")}) == 3
    assert (tmp_path / "webhook-secret").stat().st_mode & 0o777 == 0o600
    headers = signed_headers(secret_of(secret, "alice"), "msg_1", int(time.time()), b'{"id": "1"}')
    assert verify_webhook(b'{"id": "1"}', headers, secret_of(secret, "alice")) == {"id": "1"}
    for body, sent, known in [
        (b'{"id": "2"}', headers, secret_of(secret, "alice")),
        (b'{"id": "1"}', headers | {"Webhook-Id": "msg_2"}, secret_of(secret, "alice")),
        (b'{"id": "1"}', {}, secret_of(secret, "alice")),
        (b'{"id": "1"}', headers, secret_of(secret, "bob")),
        (b'{"id": "1"}', headers, secret_of(without_keys, "alice")),
    ]:
        with pytest.raises(BadSignature):
            verify_webhook(body, sent, known)
    old = signed_headers(secret, "msg_1", int(time.time()) - 3600, b"{}")
    with pytest.raises(BadSignature):
        verify_webhook(b"{}", old, secret)


def test_the_signature_is_that_of_standard_webhooks():
    """The example of its specification."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signed = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed["Webhook-Signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


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
