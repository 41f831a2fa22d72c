"""Whom webhooks reach: the addresses that are accepted, and those that are connected to."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.webhook_delivery import Carrier
from app.webhook_targets import Targets
from models.errors import Invalid
from tests.app.webhook_receiver import Receiver


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
