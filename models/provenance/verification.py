"""Read a file's credentials back: whether it was made here, whether it was altered since, by which model and when."""

import io
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import c2pa

from models.errors import PictureRejected
from models.pictures.marks import is_marked
from models.provenance.content_credentials import OFFLINE
from models.provenance.identity import Identity
from models.provenance.origin import has_credentials, media_type_of

State = Literal["trusted", "valid", "invalid", "none"]

_OUR_ANCHORS = "user_anchors"  # how the library calls the roots that it is given here
_ALTERED_NOT = ("signingCredential.", "timeStamp.")  # failures that say nothing of the file's bytes
_MAKING = ("c2pa.edited", "c2pa.created")


@dataclass(frozen=True)
class Earlier:
    """Credentials that the upload brought along."""

    generator: str | None
    signer: str | None


@dataclass(frozen=True)
class Verdict:
    """What a file's credentials and marks show."""

    state: State  # none: there are no credentials; invalid: something does not fit; valid: by a stranger; trusted
    ours: bool  # signed with the identity that was asked for; what was altered since may still be ours
    altered: bool | None  # None: there are no credentials, so nobody can tell
    marked: bool  # it carries the IPTC mark of media that a trained model made
    model: str | None = None
    version: str | None = None
    made_at: str | None = None  # RFC 3339
    source_type: str | None = None  # the last part of the IPTC term
    generator: str | None = None  # the program that signed it, and its version
    signer: str | None = None  # the organization in the certificate
    stamped_at: str | None = None  # RFC 3339; by a time-stamp authority
    inputs: list[str] = field(default_factory=list)  # hashes of what it was made of (RFC 6920)
    history: list[Earlier] = field(default_factory=list)  # latest first
    failures: list[str] = field(default_factory=list)  # C2PA's codes


class Verifier:
    """Checks files against one identity. Asks nobody on the network."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        settings = {"trust": {"user_anchors": identity.root.decode()}, "verify": {"verify_trust": True, **OFFLINE}}
        self._context = c2pa.Context(c2pa.Settings.from_dict(settings))

    def check(self, data: bytes) -> Verdict:
        """Say what the file's credentials show.

        Raises:
            PictureRejected: it is no picture or video.
        """
        media_type = media_type_of(data)
        if media_type is None:
            raise PictureRejected("is neither a picture nor a video")
        marked = is_marked(data)
        try:
            with c2pa.Reader(media_type, io.BytesIO(data), context=self._context) as reader:
                return self._verdict(json.loads(reader.json()), marked=marked)
        except c2pa.C2paError.ManifestNotFound:
            return Verdict("none", ours=False, altered=None, marked=marked)
        # What is damaged, or was made to do damage, is reported by the library in any shape.
        except (c2pa.C2paError, LookupError, TypeError, AttributeError, ValueError):
            if not has_credentials(data):
                return Verdict("none", ours=False, altered=None, marked=marked)
            return Verdict("invalid", ours=False, altered=True, marked=marked, failures=["claim.malformed"])

    def _verdict(self, report: dict[str, Any], *, marked: bool) -> Verdict:
        manifests, results = report["manifests"], report["validation_results"]
        manifest = manifests[report["active_manifest"]]
        succeeded = {item["code"] for item in results["activeManifest"]["success"]}
        failures = [item["code"] for item in results["activeManifest"]["failure"]]
        signature = manifest.get("signature_info", {})
        ours = (
            {"claimSignature.validated", "signingCredential.trusted"} <= succeeded
            and results.get("trustListUri") == _OUR_ANCHORS
            and (self._identity.own or signature.get("cert_serial_number") == self._identity.serial)
        )
        made = _making_of(manifest)
        agent = made.get("softwareAgent") or {}
        agent = {"name": agent} if isinstance(agent, str) else agent
        source_type = made.get("digitalSourceType")
        state = report.get("validation_state", "Invalid").lower()
        return Verdict(
            state=state,
            ours=ours,
            altered=any(not code.startswith(_ALTERED_NOT) for code in failures),
            marked=marked,
            model=agent.get("name"),
            version=agent.get("version"),
            made_at=made.get("when"),
            source_type=source_type.rsplit("/", 1)[-1] if source_type else None,
            generator=_generator_of(manifest),
            signer=signature.get("issuer"),
            stamped_at=signature.get("time"),
            inputs=[item["instance_id"] for item in manifest.get("ingredients", []) if "instance_id" in item],
            history=_history(manifests, manifest),
            failures=failures,
        )


def _making_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The action that made the file: the last that says from what kind of source it is."""
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    made: dict[str, Any] = next((action for action in reversed(actions) if action.get("action") in _MAKING), {})
    return made


def _generator_of(manifest: dict[str, Any]) -> str | None:
    infos = manifest.get("claim_generator_info") or []
    if not infos:
        return manifest.get("claim_generator")
    return " ".join(infos[0][key] for key in ("name", "version") if infos[0].get(key))


def _history(manifests: dict[str, Any], manifest: dict[str, Any]) -> list[Earlier]:
    """The credentials behind a manifest, from parent to parent."""
    earlier: list[Earlier] = []
    seen = set()
    while True:
        parents = [item for item in manifest.get("ingredients", []) if item.get("relationship") == "parentOf"]
        label = next((item["active_manifest"] for item in parents if item.get("active_manifest") in manifests), None)
        if label is None or label in seen:
            return earlier
        seen.add(label)
        manifest = manifests[label]
        earlier.append(Earlier(_generator_of(manifest), manifest.get("signature_info", {}).get("issuer")))
