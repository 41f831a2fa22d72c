"""Credentials of every kind of file that leaves: signed, read back, altered, and with the original's behind them."""

import datetime
import hashlib
import io
import socket
import stat

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from PIL import Image

from app import images, video
from models.errors import PictureRejected, PlaceError
from models.pictures.clips import Clip
from models.provenance import content_credentials
from models.provenance.content_credentials import Signer
from models.provenance.identity import FOLDER, SIGNING_FILE, configured_identity, own_identity
from models.provenance.origin import SIGNED_TYPES, Input, Origin
from models.provenance.splices import splice_of, spliced
from models.provenance.verification import Verifier
from tests.pictures import altered, decoded, encoded, landscape

GENERATOR = ("Doppel", "1.2.3")
PHOTO = encoded(landscape(), "JPEG")
ORIGIN = Origin(model="style_monet", version="3", inputs=[Input.of(PHOTO, "source")])


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return own_identity(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def signer(identity):
    return Signer(identity, generator=GENERATOR)


@pytest.fixture(scope="module")
def verifier(identity):
    return Verifier(identity)


@pytest.fixture(scope="module")
def files():
    """One file of each kind that leaves, by its media type."""
    picture = np.asarray(landscape())
    made = {media_type: images.encode(picture, media_type) for media_type in images.MEDIA_TYPES}
    return made | {"video/mp4": video.encode_mp4([picture, picture[:, ::-1]], 10)}


@pytest.mark.parametrize("media_type", SIGNED_TYPES)
def test_a_signed_file_says_what_made_it_and_when_and_shows_any_change(signer, verifier, files, media_type):
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    plain = files[media_type]
    signed = signer.signed(plain, media_type, ORIGIN)
    assert len(signed) - len(plain) < 5_000
    verdict = verifier.check(signed)
    assert (verdict.state, verdict.ours, verdict.altered, verdict.marked) == ("trusted", True, False, True)
    assert (verdict.model, verdict.version, verdict.generator) == ("style_monet", "3", "Doppel 1.2.3")
    assert verdict.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert before <= datetime.datetime.fromisoformat(verdict.made_at) <= datetime.datetime.now(datetime.UTC)
    assert (verdict.failures, verdict.history, verdict.stamped_at) == ([], [], None)
    assert verdict.inputs == [Input.of(PHOTO, "source").name]
    if media_type == "video/mp4":
        assert Clip(signed).frame_count == 2
    else:
        assert (decoded(signed) == decoded(plain)).all()
    other = verifier.check(altered(signed))
    assert (other.state, other.ours, other.altered) == ("invalid", True, True)
    assert other.model == "style_monet"


def test_an_upload_is_named_by_its_hash():
    """RFC 6920, section 8.1, has this name of this text."""
    assert Input.of(b"Hello World!", "source").name == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
    assert Input.of(b"Hello World!", "source").sha256 == hashlib.sha256(b"Hello World!").hexdigest()


def test_what_a_stranger_signed_is_sound_but_not_ours(verifier, files, tmp_path):
    stranger = Signer(own_identity(tmp_path), generator=("Other", "1"))
    verdict = verifier.check(stranger.signed(files["image/png"], "image/png", ORIGIN))
    assert (verdict.state, verdict.ours, verdict.altered) == ("valid", False, False)


def test_files_without_credentials_and_with_broken_ones_are_told_apart(signer, verifier, files):
    plain = verifier.check(files["image/png"])
    assert (plain.state, plain.ours, plain.altered, plain.marked) == ("none", False, None, True)
    assert verifier.check(PHOTO).marked is False
    signed = signer.signed(files["image/jpeg"], "image/jpeg", ORIGIN)
    broken = signed.replace(b"c2pa.signature", b"c2pa.signaturE")
    assert verifier.check(broken).altered is True
    assert verifier.check(broken).ours is False
    for nothing in (b"", b"no picture at all", b"%PDF-1.7"):
        with pytest.raises(PictureRejected, match="neither a picture nor a video"):
            verifier.check(nothing)


def test_damage_anywhere_is_told_or_leaves_the_picture_as_it_was(signer, verifier, files):
    signed = signer.signed(files["image/jpeg"], "image/jpeg", ORIGIN)
    states = set()
    for at in range(20, len(signed), 29):
        damaged = signed[:at] + bytes([signed[at] ^ 4]) + signed[at + 1 :]
        verdict = verifier.check(damaged)
        states.add(verdict.state)
        if verdict.altered is False:  # the signature is followed by bytes that stand for nothing
            assert (decoded(damaged) == decoded(signed)).all(), at
    assert {"trusted", "invalid"} <= states


def test_credentials_of_the_original_are_kept_as_history(signer, verifier, files, tmp_path):
    camera = Signer(own_identity(tmp_path), generator=("Camera", "7"))
    original = camera.signed(PHOTO, "image/jpeg", Origin(model="lens"))
    given = Input.of(original, "source")
    history = signer.history_of(original, given)
    origin = Origin(model="style_monet", inputs=[given, Input.of(PHOTO, "reference")], history=True)
    verdict = verifier.check(signer.signed(files["image/png"], "image/png", origin, history))
    assert (verdict.state, verdict.ours, verdict.altered) == ("trusted", True, False)
    assert [(item.generator, item.signer) for item in verdict.history] == [("Camera 7", "Doppel")]
    assert set(verdict.inputs) == {given.name, origin.inputs[1].name}
    assert signer.history_of(PHOTO, Input.of(PHOTO, "source")) is None
    assert signer.history_of(original[:900], given) is None  # cut off within its credentials


def test_what_was_made_of_nothing_is_said_to_be(signer, verifier, files):
    verdict = verifier.check(signer.signed(files["image/webp"], "image/webp", Origin(model="dreamer")))
    assert (verdict.source_type, verdict.state, verdict.inputs) == ("trainedAlgorithmicMedia", "trusted", [])


def test_of_several_sources_each_is_named(signer, verifier, files):
    several = [Input.of(bytes([n]), role) for n, role in enumerate(("source", "source", "reference", "reference"))]
    origin = Origin(model="faces", inputs=several)
    verdict = verifier.check(signer.signed(files["image/png"], "image/png", origin))
    assert (verdict.state, set(verdict.inputs)) == ("trusted", {given.name for given in several})
    assert origin.of_source(1).inputs == several[1:]


def test_nothing_personal_of_the_original_is_in_the_credentials(signer, files):
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    exif.get_ifd(0x8825)[1] = "S"
    original = encoded(landscape(), "JPEG", exif=exif, comment=b"secret comment")
    signed = signer.signed(files["image/jpeg"], "image/jpeg", Origin(model="m", inputs=[Input.of(original, "source")]))
    assert b"secret" not in signed
    assert not Image.open(io.BytesIO(signed)).getexif()
    assert socket.gethostname().encode() not in signed


def test_an_identity_is_made_once_and_its_keys_are_private(tmp_path):
    first, second = own_identity(tmp_path), own_identity(tmp_path)
    assert first == second
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / FOLDER).iterdir()}
    assert {modes[name] for name in ("root-key.pem", SIGNING_FILE)} == {0o600}
    root = x509.load_pem_x509_certificate(first.root)
    x509.load_pem_x509_certificate(first.certificates).verify_directly_issued_by(root)
    (tmp_path / FOLDER / SIGNING_FILE).write_text("damaged")
    with pytest.raises(PlaceError, match="are damaged"):
        own_identity(tmp_path)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_an_identity_with_a_key_of_an_elliptic_curve_signs(files, tmp_path, monkeypatch, curve):
    monkeypatch.setattr(ed25519.Ed25519PrivateKey, "generate", lambda: ec.generate_private_key(curve))
    identity = own_identity(tmp_path)  # as earlier versions made it with the first of them
    assert identity.algorithm == f"es{curve.key_size}"
    signed = Signer(identity, generator=GENERATOR).signed(files["image/png"], "image/png", ORIGIN)
    assert Verifier(identity).check(signed).state == "trusted"


def test_a_configured_identity_signs_and_must_fit_its_key(verifier, files, tmp_path):
    own_identity(tmp_path)
    mine, root = tmp_path / FOLDER / SIGNING_FILE, tmp_path / FOLDER / "root.pem"
    chain = tmp_path / "chain.pem"
    chain.write_bytes(mine.read_bytes() + root.read_bytes())
    configured = configured_identity(chain, mine)
    signed = Signer(configured, generator=GENERATOR).signed(files["image/png"], "image/png", ORIGIN)
    assert Verifier(configured).check(signed).ours
    assert not verifier.check(signed).ours
    with pytest.raises(PlaceError, match="is not the key of"):
        configured_identity(chain, tmp_path / FOLDER / "root-key.pem")
    with pytest.raises(PlaceError, match=r"absent\.pem"):
        configured_identity(tmp_path / "absent.pem", mine)


def test_a_time_stamp_authority_that_never_answers_holds_nobody_up(identity, verifier, files, monkeypatch):
    monkeypatch.setattr(content_credentials, "STAMP_WAIT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        signer = Signer(identity, generator=GENERATOR, stamped_by=url)
        for _ in range(2):
            verdict = verifier.check(signer.signed(files["image/png"], "image/png", ORIGIN))
            assert (verdict.state, verdict.stamped_at) == ("trusted", None)
        silent.settimeout(5)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"POST"
        silent.settimeout(0)
        with pytest.raises(BlockingIOError):  # nor is it asked again at once
            silent.accept()


@pytest.mark.parametrize("media_type", SIGNED_TYPES)
def test_a_file_can_be_signed_again_in_the_same_way(signer, files, media_type):
    plain = files[media_type]
    signed = signer.signed(plain, media_type, ORIGIN)
    assert signer.signed(plain, media_type, ORIGIN) != signed
    splice = splice_of(plain, signed)
    assert spliced(plain, splice) == signed
    assert len(splice) < len(signed) - len(plain) + 2_000
    assert spliced(plain + b"x", splice) is None
