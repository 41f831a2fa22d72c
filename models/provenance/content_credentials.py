"""Sign what is made here: Content Credentials (C2PA specification 2.2), which say by which model, of what, and when.

They are written by ``c2pa-python``, which takes half a second to load: import this module when something is signed.
"""

import contextlib
import datetime
import io
import json
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import c2pa

from models.errors import SigningFailed
from models.pictures.marks import COMPOSITE, GENERATED
from models.provenance.identity import Identity
from models.provenance.origin import Input, Origin, has_credentials, media_type_of

MAX_HISTORY_BYTES = 256 << 10  # of credentials that an upload brings along; larger ones are left out
STAMP_WAIT_S = 1.0  # how long a picture waits for a time stamp
STAMP_PAUSE_S = 60.0  # how long none is asked for after one did not come in time
MAX_STAMPS = 4  # that are asked for at once

_PARENT = "upload"  # the label of the first source's ingredient
# Nothing is fetched for anybody, and no second copy of any picture is made.
OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_SETTINGS = {
    "builder": {
        "thumbnail": {"enabled": False},
        "created_assertion_labels": ["c2pa.actions", "c2pa.ingredient"],
    },
    "verify": {"verify_after_sign": False, **OFFLINE},
}


class Signer:
    """Signs files with one identity. Its methods may be called by several threads at once.

    Args:
        generator: name and version of this program.
        stamped_by: address of a time-stamp authority (RFC 3161). Pictures don't wait for one that is slow or away, but
            leave without a time stamp.
    """

    def __init__(self, identity: Identity, *, generator: tuple[str, str], stamped_by: str | None = None) -> None:
        self._generator = dict(zip(("name", "version"), generator, strict=True))
        self._context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        self._signer = _native_signer(identity, None)
        self._stamping = _Stamping(_native_signer(identity, stamped_by)) if stamped_by else None

    def signed(self, data: bytes, media_type: str, origin: Origin, history: bytes | None = None) -> bytes:
        """The file with credentials.

        Args:
            media_type: one of ``SIGNED_TYPES``.
            history: what :func:`history_of` returned for the first source.

        Raises:
            SigningFailed: it could not be signed.
        """

        def by(signer: c2pa.Signer) -> bytes:
            definition = json.dumps(self._definition(origin, archived=history is not None))
            with c2pa.Builder(definition, self._context) as builder:
                if history is not None:
                    builder.add_ingredient_from_archive(io.BytesIO(history))
                target = io.BytesIO()
                builder.sign(signer, media_type, io.BytesIO(data), target)
                return target.getvalue()

        with _translating_errors():
            stamped = self._stamping.attempt(by) if self._stamping is not None else None
            return stamped or by(self._signer)

    def history_of(self, data: bytes, given: Input) -> bytes | None:
        """The credentials that an upload brings along, as they become part of those of what is made of it.

        Returns:
            An archive of at most ``MAX_HISTORY_BYTES``; None if there are none, or none that can be kept.
        """
        media_type = media_type_of(data)
        if media_type is None or not has_credentials(data):
            return None
        archive = io.BytesIO()
        try:
            with c2pa.Builder(json.dumps({"claim_generator_info": [self._generator]}), self._context) as builder:
                builder.add_ingredient(_ingredient(given, _PARENT, "parentOf"), media_type, io.BytesIO(data))
                builder.write_ingredient_archive(_PARENT, archive)
        except c2pa.C2paError:  # they are damaged, or of a kind that is not known
            return None
        return archive.getvalue() if archive.tell() <= MAX_HISTORY_BYTES else None

    def _definition(self, origin: Origin, *, archived: bool) -> dict[str, Any]:
        """The manifest of a result.

        Args:
            archived: the first source is added by itself.
        """
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ingredients, actions, used = [], [], []
        for n, given in enumerate(origin.inputs):
            label = f"{_PARENT}-{n + 1}" if n else _PARENT
            if given.role == "reference":
                relationship = "inputTo"
                used.append(label)
            else:
                relationship = "componentOf" if n else "parentOf"  # of which there can be only one
                action = "c2pa.placed" if n else "c2pa.opened"
                actions.append({"action": action, "when": now, "parameters": {"ingredientIds": [label]}})
            if n or not archived:
                ingredients.append(_ingredient(given, label, relationship))
        agent = {"name": origin.model} | ({"version": origin.version} if origin.version else {})
        made = {"action": "c2pa.edited", "when": now, "softwareAgent": agent, "digitalSourceType": COMPOSITE}
        if not actions:
            made |= {"action": "c2pa.created", "digitalSourceType": GENERATED}
        if used:
            made["parameters"] = {"ingredientIds": used}
        assertion = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [*actions, made]}}
        return {
            "claim_generator_info": [self._generator],
            "ingredients": ingredients,
            "assertions": [assertion],
        }


class _Stamping:
    """Attempts to sign with a time stamp, for which nobody waits long."""

    def __init__(self, signer: c2pa.Signer) -> None:
        self._signer = signer
        self._free = threading.Semaphore(MAX_STAMPS)
        self._paused_until = 0.0

    def attempt(self, sign: Callable[[c2pa.Signer], bytes]) -> bytes | None:
        """What ``sign`` returns for the signer with time stamps; None if it takes too long or fails."""
        if time.monotonic() < self._paused_until or not self._free.acquire(blocking=False):
            return None
        made: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                made.put(sign(self._signer))
            except c2pa.C2paError:
                made.put(None)
            finally:
                self._free.release()

        threading.Thread(target=work, daemon=True, name="time-stamp").start()  # the library can't be told to give up
        try:
            stamped = made.get(timeout=STAMP_WAIT_S)
        except queue.Empty:
            stamped = None
        if stamped is None:
            self._paused_until = time.monotonic() + STAMP_PAUSE_S
        return stamped


def _ingredient(given: Input, label: str, relationship: str) -> dict[str, str]:
    """An upload as the credentials name it: by its hash, and by no name, date or place."""
    format_ = {"format": given.media_type} if given.media_type else {}
    title = "upload" if given.role == "source" else "reference"
    return {"label": label, "title": title, "relationship": relationship, "instance_id": given.name, **format_}


def _native_signer(identity: Identity, stamped_by: str | None) -> c2pa.Signer:
    info = c2pa.C2paSignerInfo(identity.algorithm, identity.certificates, identity.key, stamped_by)
    with _translating_errors():
        return c2pa.Signer.from_info(info)


@contextlib.contextmanager
def _translating_errors() -> Any:
    try:
        yield
    except c2pa.C2paError as error:
        raise SigningFailed(str(error)) from error
