"""API keys: the lines that describe them, and which of them a request brought along.

A secret is 256 random bits. Nobody finds one by trying, so a fast hash keeps it as well as a slow one would: slow ones
are for passwords, which people choose from among few.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.callers import Caller, Scope
from app.settings import Settings
from models.errors import Invalid, PlaceError
from models.store.names import NAME
from worker.rates import Rate

PREFIX = "doppel_"  # of secrets, so that scanners of published code can know one
SECRET_BYTES = 32
LOOK_S = 1.0  # between two looks at whether the file has changed
UNITS_S = {"s": 1, "min": 60}
MAX_COUNT = 1_000_000  # of what a limit counts

_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_RATE = re.compile(rf"(\d{{1,7}})/({'|'.join(UNITS_S)})", re.ASCII)
_COUNT = re.compile(r"\d{1,7}", re.ASCII)

log = logging.getLogger("doppel.app")


@dataclass(frozen=True)
class Key:
    """An API key as it is kept: its secret can't be told from it.

    Attributes:
        digest: SHA-256 of the secret.
        rate: None: as many requests as its holder likes.
    """

    digest: bytes
    caller: Caller
    rate: Rate | None = None


def new_secret() -> str:
    """A secret that nobody has yet."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: bytes) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret).digest()


def require_name(name: str) -> None:
    """Check the name of a key.

    Raises:
        Invalid: it can't be one.
    """
    if not NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} can't name a key; a name has up to 64 letters, digits, '.', '_' and '-'")


def read_line(line: str) -> Key:
    """The key that a line describes: ``NAME sha256:HEX scopes=A,B [rate=N/min] [burst=N] [jobs=N] [runs=N]``.

    Raises:
        Invalid: it is no such line; the message is the rest of a sentence that begins with where it stands.
    """
    name, *rest = line.split()
    require_name(name)
    hashed = _HASH.fullmatch(rest[0]) if rest else None
    if hashed is None:
        raise Invalid(f"after the name {name!r} the hash is missing: sha256: and 64 hex digits")
    options: dict[str, str] = {}
    for word in rest[1:]:
        option, equals, value = word.partition("=")
        if option not in ("scopes", "rate", "burst", "jobs", "runs") or not equals:
            raise Invalid(f"{word[:80]!r} is neither scopes=, rate=, burst=, jobs= nor runs=")
        if option in options:
            raise Invalid(f"{option}= is there twice")
        options[option] = value
    if "burst" in options and "rate" not in options:
        raise Invalid("burst= needs a rate=")
    caller = Caller(
        name,
        scopes_of(options.get("scopes", "").split(",")),
        most_jobs=_count("jobs", options["jobs"]) if "jobs" in options else None,
        most_runs=_count("runs", options["runs"]) if "runs" in options else None,
    )
    rate = rate_of(options["rate"], options.get("burst")) if "rate" in options else None
    return Key(bytes.fromhex(hashed[1]), caller, rate)


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes of these names.

    Raises:
        Invalid: one is no scope, or there is none.
    """
    given = list(names)
    if unknown := [name for name in given if name not in list(Scope)]:
        raise Invalid(f"{unknown[0][:80]!r} is no scope; scopes are {', '.join(Scope)}")
    return frozenset(map(Scope, given))


def rate_of(text: str, burst: str | None = None) -> Rate:
    """The rate that ``60/min`` or ``5/s`` says, of which as many may come at once as ``burst`` says; None: all of them.

    Raises:
        Invalid: it is no rate.
    """
    known = _RATE.fullmatch(text)
    if known is None:
        raise Invalid(f"rate={text[:80]} is no rate such as 60/min or 5/s")
    count = _count("rate", known[1])
    return Rate(count, UNITS_S[known[2]], _count("burst", burst) if burst is not None else count)


def _count(option: str, text: str) -> int:
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= MAX_COUNT:
        raise Invalid(f"{option}={text[:80]} is no number from 1 to {MAX_COUNT:,}")
    return int(text)


def read_keys(lines: Iterable[str], where: str) -> dict[bytes, Key]:
    """The keys of a file, by their digests. What follows a ``#`` is a remark.

    Several keys of one name have one holder: so a new one is there before the old one goes.

    Args:
        where: what the lines are from, for the message.

    Raises:
        PlaceError: a line can't be used.
    """
    keys: dict[bytes, Key] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0]
        if not text.strip():
            continue
        try:
            key = read_line(text)
            if key.digest in keys:
                raise Invalid(f"the key {key.caller.name!r} has the hash of another one")
        except Invalid as error:
            raise PlaceError(f"{where}, line {number}: {error}") from None
        keys[key.digest] = key
    return keys


class KeyRing:
    """The keys of a server, those of its file as they are at this moment.

    If the file can't be read any more, or has a line that can't be used, the keys stay as they were, and the log says
    so: a typing error locks nobody out.

    Args:
        inline: lines of keys, also with ``;`` between them.
        file: None: there is no file.

    Raises:
        PlaceError: a line can't be used, or the file can't be read.
    """

    def __init__(self, inline: str | None, file: Path | None) -> None:
        self._inline = read_keys(re.split("[;\n]", inline or ""), "DOPPEL_API_KEYS")
        self._file = file
        self._seen = self._version()
        self._keys = self._inline | self._read()
        self._look_at = time.monotonic() + LOOK_S

    @classmethod
    def of(cls, settings: Settings) -> "KeyRing | None":
        """The keys that the settings name; None: the server has none. Raises as the constructor does."""
        return cls(settings.api_keys, settings.api_keys_file) if settings.has_keys else None

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret.

        How long that takes says nothing about the secrets: they are looked up by a hash, which nobody can steer towards
        that of a secret without knowing the secret, and compared in constant time.
        """
        if time.monotonic() >= self._look_at:
            self._look()
        digest = digest_of(secret)
        key = self._keys.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    @property
    def names(self) -> list[str]:
        """The names of all keys, each once."""
        return sorted({str(key.caller.name) for key in self._keys.values()})

    def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_S
        version = self._version()
        if version == self._seen:
            return
        self._seen = version
        try:
            self._keys = self._inline | self._read()
        except PlaceError as error:
            log.error("the API keys stay as they were: %s", error)
        else:
            log.info("there are %d API keys now", len(self._keys))

    def _version(self) -> tuple[int, int, int] | None:
        try:
            stat = self._file.stat() if self._file else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None

    def _read(self) -> dict[bytes, Key]:
        if self._file is None:
            return {}
        try:
            text = self._file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise PlaceError(f"DOPPEL_API_KEYS_FILE: {self._file} can't be read ({why})") from None
        return read_keys(text.splitlines(), f"DOPPEL_API_KEYS_FILE: {self._file}")
