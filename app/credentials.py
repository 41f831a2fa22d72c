"""Credentials for all that leaves: the identity of this installation, and how results are signed with it.

A result leaves in any case. If it can't be signed, it carries the IPTC mark alone, and the log says why, once.
"""

import functools
import logging
import struct
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from app.settings import Settings
from models.errors import DoppelError, NotInstalled, SigningFailed
from models.provenance.origin import SIGNED_TYPES, Input, Origin, has_credentials
from models.provenance.splices import splice_of, spliced
from models.store.catalog import Model

if TYPE_CHECKING:
    from models.provenance.content_credentials import Signer
    from models.provenance.identity import Identity
    from models.provenance.verification import Verdict, Verifier

GENERATOR = ("Doppel", version("doppel"))
RETRY_S = 60.0  # after signing could not be prepared, for instance on a full disk
_SIZE = struct.Struct("<I")

log = logging.getLogger("doppel.app")


class Sign(Protocol):
    """Signs the files that a result is encoded as, in the order in which they are."""

    def __call__(self, data: bytes, media_type: str, source: int | None = None) -> bytes:
        """The file with credentials.

        Args:
            source: the number of the one source that it was made of; None: all of them.
        """
        ...


def unsigned(data: bytes, media_type: str, source: int | None = None) -> bytes:
    """Leave a file as it is."""
    return data


class Credentials:
    """Signs results and checks files. What it needs is loaded when it is needed, or by :meth:`prepare`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._said: set[str] = set()
        self._loading = threading.Lock()
        self._retry_at = 0.0  # by the monotonic clock

    @property
    def wanted(self) -> bool:
        """Whether results are signed at all."""
        return self._settings.content_credentials

    @property
    def quick(self) -> bool:
        """Whether signing takes about a millisecond: everything is loaded, and no time stamp is asked for."""
        return not self.wanted or ("_signer" in self.__dict__ and not self._settings.timestamp_url)

    def prepare(self) -> None:
        """Load what signing needs, and make the identity if there is none."""
        if self.wanted:
            self._usable_signer()

    def origin_of(
        self, model: Model, sources: Sequence[bytes], references: Sequence[bytes] = ()
    ) -> tuple[Origin | None, bytes | None]:
        """What a result is made of; None if it won't be signed.

        Args:
            sources: files as they were sent.
            references: of a style.

        Returns:
            The origin, and the credentials that the first source brings along, if they can be kept.
        """
        if not self.wanted:
            return None, None
        inputs = [Input.of(data, "source") for data in sources] + [Input.of(data, "reference") for data in references]
        signer = self._usable_signer() if has_credentials(sources[0]) else None
        history = signer.history_of(sources[0], inputs[0]) if signer is not None else None
        return Origin(model=model.name, version=model.version, inputs=inputs, history=history is not None), history

    def signed(self, data: bytes, media_type: str, origin: Origin, history: bytes | None = None) -> bytes:
        """The file with credentials, or as it is if it can't be given any."""
        if not self.wanted or media_type not in SIGNED_TYPES:
            return data
        signer = self._usable_signer()
        if signer is None:
            return data
        try:
            return signer.signed(data, media_type, origin, history)
        except SigningFailed as error:
            self._say_once(f"results leave without Content Credentials: {error}")
            return data

    def check(self, data: bytes) -> "Verdict":
        """What the credentials of a file show.

        Raises:
            PictureRejected: it is neither a picture nor a video.
            PlaceError, OSError, NotInstalled: as of :attr:`identity`.
        """
        return self._verifier.check(data)

    @functools.cached_property
    def identity(self) -> "Identity":
        """The identity that signs.

        Raises:
            PlaceError: it can be neither read nor made.
            OSError: so does the disk.
            NotInstalled: the package for it is missing.
        """
        try:
            from models.provenance.identity import configured_identity, own_identity
        except ModuleNotFoundError as error:
            raise NotInstalled(f"Content Credentials need the package {error.name}, which is not installed") from error
        certificate, key = self._settings.signing_certificate, self._settings.signing_key
        if certificate is not None and key is not None:
            return configured_identity(certificate, key)
        return own_identity(self._settings.data_dir)

    @functools.cached_property
    def _verifier(self) -> "Verifier":
        try:
            from models.provenance.verification import Verifier
        except (ImportError, OSError) as error:
            raise NotInstalled(f"Content Credentials need c2pa-python, which can't be loaded: {error}") from error
        return Verifier(self.identity)

    @functools.cached_property
    def _signer(self) -> "Signer":
        try:
            from models.provenance.content_credentials import Signer
        except (ImportError, OSError) as error:  # its library may not fit this machine
            raise NotInstalled(f"c2pa-python can't be loaded: {error}") from error
        return Signer(self.identity, generator=GENERATOR, stamped_by=self._settings.timestamp_url)

    def _usable_signer(self) -> "Signer | None":
        try:
            with self._loading:
                return self._signer if time.monotonic() >= self._retry_at else None
        except (DoppelError, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_S
            self._say_once(f"results leave without Content Credentials: {error}")
            return None

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            log.warning("%s", message)


class Signing:
    """Signs what is made of one job, and can do so again in the same way.

    Args:
        kept: :attr:`splices` of the first time.

    Attributes:
        changed: something was not signed as it was then.
    """

    def __init__(
        self, credentials: Credentials, origin: Origin | None, history: bytes | None = None, *, kept: bytes = b""
    ) -> None:
        self._credentials = credentials
        self._origin = origin
        self._history = history
        self._kept = _separated(kept)
        self._made: list[tuple[bytes, bytes]] = []  # files before and after
        self.changed = False

    def __call__(self, data: bytes, media_type: str, source: int | None = None) -> bytes:
        if self._origin is None:  # a job of an earlier version
            return data
        kept = self._kept.pop(0) if self._kept else None
        if kept is not None and (again := spliced(data, kept)) is not None:
            self._made.append((data, again))
            return again
        origin = self._origin if source is None else self._origin.of_source(source)
        history = self._history if origin.history else None
        signed = self._credentials.signed(data, media_type, origin, history)
        self.changed |= signed is not data
        self._made.append((data, signed))
        return signed

    @property
    def splices(self) -> bytes:
        """What signing added, for the next time."""
        made = [splice_of(before, after) for before, after in self._made]
        return b"".join(_SIZE.pack(len(splice)) + splice for splice in made)


class MadeBy:
    """Signs what one model makes of one file after another."""

    def __init__(self, credentials: Credentials, model: Model, references: Sequence[bytes] = ()) -> None:
        self._credentials = credentials
        self._model = model
        self._references = references

    def of(self, source: bytes) -> Sign:
        """What signs the picture that is made of this file."""
        return Signing(self._credentials, *self._credentials.origin_of(self._model, [source], self._references))


def _separated(kept: bytes) -> list[bytes]:
    splices = []
    while kept:
        (size,) = _SIZE.unpack_from(kept)
        splices.append(kept[_SIZE.size : _SIZE.size + size])
        kept = kept[_SIZE.size + size :]
    return splices
