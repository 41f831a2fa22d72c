"""Check the messages that a Doppel server sends to a webhook. Standard Webhooks 1.0, so its libraries do so, too."""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from doppel.errors import BadSignature

TOLERANCE_S = 300.0  # between the clocks of server and receiver, and how old a message may be

_SECONDS = re.compile(r"[0-9]{1,15}")


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: str, *, tolerance_s: float = TOLERANCE_S
) -> dict[str, Any]:
    """Check who sent a message, and return what it says.

    A message may come more than once. Each time it has the same ``Webhook-Id``, by which a receiver knows it again.

    Args:
        body: as it was received, byte for byte.
        headers: of the request; letter case does not matter.
        secret: the server's, which begins with ``whsec_``; ``doppel webhook-secret`` prints it there.
        tolerance_s: how far the message's time may be from now.

    Returns:
        The job as ``GET /jobs/{id}`` shows it, or the run as ``GET /training/{id}`` does.

    Raises:
        BadSignature: it is not from this server, was altered, or is old.
        ValueError: the secret is none.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = sent.get("webhook-id", ""), sent.get("webhook-timestamp", "")
    if not _SECONDS.fullmatch(timestamp) or abs(time.time() - int(timestamp)) > tolerance_s:
        raise BadSignature("the message has no time, or one that is too far from now")
    signed = b".".join([message_id.encode(), timestamp.encode(), body])
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    expected = f"v1,{base64.b64encode(digest).decode()}"
    given = sent.get("webhook-signature", "").split(" ")  # more than one while a secret is changed
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in given):
        raise BadSignature("the message is not signed with this secret")
    ended: dict[str, Any] = json.loads(body)
    return ended


def _key(secret: str) -> bytes:
    kind, _, key = secret.partition("_")
    try:
        decoded = base64.b64decode(key, validate=True)
    except binascii.Error:
        decoded = b""
    if kind != "whsec" or not decoded:
        raise ValueError("the secret of a webhook is whsec_ and bytes in Base64")
    return decoded
