"""The identity with which credentials are signed: a root of this installation's own, and a certificate that it issued.

Whoever is to trust this installation's pictures puts the root on a list of trusted ones. The key that signs is Ed25519,
with which c2pa-python takes four fifths of the time that it takes with EC P-256. See the C2PA specification 2.2,
chapters 13 and 14, for the keys that are allowed and for what a certificate must say.
"""

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from models.errors import PlaceError
from models.store.files import locked, replacing

FOLDER = "identity"  # in DATA_DIR
ROOT_FILE, ROOT_KEY_FILE = "root.pem", "root-key.pem"
SIGNING_FILE = "signing.pem"  # key and certificate in one, so that they always belong together

_ROOT_DAYS, _CERTIFICATE_DAYS = 30 * 365, 10 * 365
_RENEWED_DAYS = 365  # before its end, a certificate is replaced
_CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")  # C2PA's own; older validators know e-mail protection
_ORGANIZATION = "Doppel"

_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Identity:
    """What signs, and how others recognise it."""

    algorithm: str  # of the signatures, as C2PA names it: es256, es384, ed25519
    certificates: bytes  # PEM: the one that signs, then those between it and the root
    key: bytes  # PEM
    root: bytes  # PEM: who trusts it trusts what this identity signs
    own: bool  # the root is this installation's own, so that it vouches for nothing but Doppel's pictures
    serial: str  # of the certificate that signs, in decimal


def own_identity(data_dir: Path) -> Identity:
    """The identity in ``data_dir``, which is made if there is none. Its private keys are readable by their owner alone.

    Raises:
        OSError: it can be neither read nor made.
        PlaceError: what is there is damaged.
    """
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        try:
            if not (folder / ROOT_FILE).exists():
                _make_root(folder)
            if _expires_soon(folder / SIGNING_FILE):
                _issue(folder)
            root = (folder / ROOT_FILE).read_bytes()
            return _identity(folder / SIGNING_FILE, root=root)
        except ValueError as error:
            raise PlaceError(
                f"{folder}: the certificates and keys that sign pictures are damaged; restore them, or remove the "
                "folder, and new ones are made"
            ) from error


def configured_identity(certificates: Path, key: Path) -> Identity:
    """An identity that the operator has got from elsewhere.

    Args:
        certificates: PEM; the one that signs first, the root or the last before it last.
        key: PEM, without a password; EC P-256, EC P-384 or Ed25519.

    Raises:
        PlaceError: the files can't be read, or don't belong together.
    """
    try:
        return _identity(certificates, key)
    except OSError as error:
        raise PlaceError(f"{error.filename}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PlaceError(f"{certificates} and {key} are no certificate and its key: {error}") from error


def _identity(certificates: Path, key: Path | None = None, *, root: bytes | None = None) -> Identity:
    """Read an identity.

    Args:
        key: None: it is in the same file.
        root: of an identity of Doppel's own.

    Raises:
        ValueError, TypeError, UnsupportedAlgorithm: as of the package ``cryptography``.
        OSError: a file can't be read.
        PlaceError: the key is not this certificate's, or of a kind that can't sign.
    """
    key = key or certificates
    chain = x509.load_pem_x509_certificates(certificates.read_bytes())
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    match private:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            algorithm = "es256"
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            algorithm = "es384"
        case ed25519.Ed25519PrivateKey():
            algorithm = "ed25519"
        case _:
            raise PlaceError(f"{key}: keys that sign are EC P-256, EC P-384 or Ed25519")
    if chain[0].public_key() != private.public_key():
        raise PlaceError(f"{key} is not the key of {certificates}")
    sent = chain if len(chain) == 1 or not _signs_itself(chain[-1]) else chain[:-1]
    return Identity(
        algorithm=algorithm,
        certificates=b"".join(map(_pem, sent)),
        key=_key_pem(private),
        root=root or _pem(chain[-1]),
        own=root is not None,
        serial=str(chain[0].serial_number),
    )


def _signs_itself(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def _make_root(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Doppel root")
    usage = {"key_cert_sign": True, "crl_sign": True}
    root = (
        _begun(name, name, key, _ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_private(folder / ROOT_KEY_FILE, _key_pem(key))
    with replacing(folder / ROOT_FILE) as part:
        part.write_bytes(_pem(root))


def _issue(folder: Path) -> None:
    """Issue a certificate by the root."""
    root = x509.load_pem_x509_certificate((folder / ROOT_FILE).read_bytes())
    root_key = serialization.load_pem_private_key((folder / ROOT_KEY_FILE).read_bytes(), password=None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey), "as it was made"
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = (
        _begun(_name("Doppel"), root.subject, key, _CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, _CLAIM_SIGNING]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    _write_private(folder / SIGNING_FILE, _key_pem(key) + _pem(certificate))


def _expires_soon(path: Path) -> bool:
    """Whether a certificate is missing, or ends soon."""
    if not path.exists():
        return True
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc < _now() + datetime.timedelta(days=_RENEWED_DAYS)


def _begun(subject: x509.Name, issuer: x509.Name, key: _PrivateKey, days: int) -> x509.CertificateBuilder:
    since = _now() - datetime.timedelta(hours=1)  # clocks of those who check may be behind
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    """A name that tells nothing of the machine or of who runs it."""
    attributes = {NameOID.ORGANIZATION_NAME: _ORGANIZATION, NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes.items()])


def _key_usage(**given: bool) -> x509.KeyUsage:
    usages = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    usages += " key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{usage: given.get(usage, False) for usage in usages.split()})


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _PrivateKey) -> bytes:
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)


def _write_private(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with replacing(path) as part, os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        file.write(data)
