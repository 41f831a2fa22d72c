"""Signatures of webhooks, as Standard Webhooks 1.0 has them, so that its libraries check them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path

from pydantic import SecretStr

from models.errors import PlaceError
from models.store.files import locked, replacing

FILE = "webhook-secret"  # in DATA_DIR
PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
_OWN_BYTES = 32


def secret_bytes(secret: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        ValueError: it is not ``whsec_`` and 24 to 64 bytes in Base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError(f"a secret is {PREFIX} and {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes in Base64")
    return key


def own_secret(data_dir: Path) -> str:
    """The secret that those of receivers follow from, in a file that its owner alone can read. Drawn at first use.

    Raises:
        OSError: it can be neither read nor made.
        PlaceError: what is there is damaged.
    """
    path = data_dir / FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    with locked(data_dir / f".{FILE}.lock"):
        if not path.exists():
            with replacing(path) as part:
                part.touch(mode=0o600)
                part.write_text(written(secrets.token_bytes(_OWN_BYTES)) + "\n")
        secret = path.read_text().strip()
    try:
        secret_bytes(secret)
    except ValueError as error:
        raise PlaceError(f"{path}: {error}; restore the file, or remove it, and a new secret is drawn") from error
    return secret


class Secrets:
    """What the webhooks of this installation are signed with.

    Args:
        configured: the secret that the others follow from; None: the installation's own.
    """

    def __init__(self, configured: str | None, data_dir: Path) -> None:
        self._configured = configured
        self._data_dir = data_dir
        self._own: str | None = None

    @classmethod
    def of_settings(cls, secret: SecretStr | None, data_dir: Path) -> "Secrets":
        """The secrets that follow from the settings of the same names."""
        return cls(secret.get_secret_value() if secret is not None else None, data_dir)

    def of(self, owner: str | None) -> str:
        """The secret of an API key's webhooks, see :func:`secret_of`.

        Raises:
            OSError, PlaceError: as :func:`own_secret`.
        """
        if self._configured is None and self._own is None:
            self._own = own_secret(self._data_dir)
        return secret_of(self._configured or self._own or "", owner)


def secret_of(secret: str, owner: str | None) -> str:
    """The secret with which the webhooks of one API key are signed, so that no key's holder can sign for another's.

    Args:
        secret: of this installation, which no receiver is told.
        owner: the key's name; None: where there are no keys.
    """
    label = "no key" if owner is None else f"key:{owner}"
    return written(hmac.digest(secret_bytes(secret), label.encode(), hashlib.sha256))


def written(key: bytes) -> str:
    """A key as a secret."""
    return PREFIX + base64.b64encode(key).decode()


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver checks a message.

    Args:
        timestamp: Unix time, seconds.
    """
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    signature = base64.b64encode(hmac.digest(secret_bytes(secret), signed, hashlib.sha256)).decode()
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": f"v1,{signature}",
    }
