"""Webhooks are signed, with a secret for each API key."""

import time

import pytest

from app.webhook_signing import Secrets, own_secret, secret_of, signed_headers
from doppel import BadSignature, verify_webhook


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
