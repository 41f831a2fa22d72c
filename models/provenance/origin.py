"""What a result was made of and by what: it travels with the job, and becomes the result's credentials."""

import base64
import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

# The first bytes of a file, from an offset on → its media type.
_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF8", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (8, b"avif", "image/avif"),
    (8, b"avis", "image/avif"),
    (8, b"qt  ", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"BM", "image/bmp"),
)

SIGNED_TYPES = ("image/png", "image/jpeg", "image/webp", "video/mp4")  # of those that are made here
_JUMBF = b"jumdc2pa"  # how C2PA's data begin in every kind of file


def has_credentials(data: bytes) -> bool:
    """Whether a file holds Content Credentials, be they sound or not."""
    return _JUMBF in data


def media_type_of(data: bytes) -> str | None:
    """The media type of a picture or a video by its first bytes; None if it looks like neither."""
    return next((name for at, magic, name in _MAGICS if data.startswith(magic, at)), None)


class Input(BaseModel):
    """A file that was sent for a result to be made of it. Nothing of it is kept but its hash."""

    model_config = ConfigDict(frozen=True)

    role: Literal["source", "reference"]
    sha256: str  # hex digest
    media_type: str | None = None

    @classmethod
    def of(cls, data: bytes, role: Literal["source", "reference"]) -> "Input":
        """Describe an upload."""
        return cls(role=role, sha256=hashlib.sha256(data).hexdigest(), media_type=media_type_of(data))

    @property
    def name(self) -> str:
        """The name of the upload by its hash (RFC 6920)."""
        digest = base64.urlsafe_b64encode(bytes.fromhex(self.sha256)).rstrip(b"=")
        return f"ni:///sha-256;{digest.decode()}"


class Origin(BaseModel):
    """What a result was made of, and by which model."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str | None = None  # None: nothing tells it
    inputs: list[Input] = []  # the sources, then the references
    history: bool = False  # the first source had credentials of its own, which are stored beside the job

    def of_source(self, n: int) -> "Origin":
        """The origin of what was made of one source alone."""
        sources = [given for given in self.inputs if given.role == "source"]
        references = [given for given in self.inputs if given.role == "reference"]
        return self.model_copy(
            update={"inputs": [*sources[n : n + 1], *references], "history": self.history and n == 0}
        )
