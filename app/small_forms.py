"""Read a small form at once, from memory.

A parser for bodies that come in pieces looks at each byte of the headers and calls a function for every few of them,
which for a small picture takes as long as decoding it. What most clients send can be cut apart as a whole. Whatever is
not plainly of that form is left to Starlette, which reads and refuses it as ever.
"""

import io
import re

from fastapi import Request, UploadFile
from starlette.datastructures import FormData, Headers
from starlette.datastructures import UploadFile as SentFile
from starlette.requests import ClientDisconnect

SMALL_BYTES = 1 << 20  # of a body; Starlette keeps as much of a file in memory
MOST_PARTS = 64

_TYPE = re.compile(r"multipart/form-data; ?boundary=([\w'()+,./:=?-]{1,70})", re.ASCII)
_PART = re.compile(
    rb'Content-Disposition: form-data; name="([\w.-]{1,100})"(?:; filename="([\w .()+-]{1,255})")?'
    rb"(?:\r\nContent-Type: ([\w./+-]{1,100}))?",
    re.IGNORECASE | re.ASCII,
)


class MemoryFile(UploadFile):
    """An uploaded file whose bytes are in memory, so that no thread is needed to read it."""

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    async def seek(self, offset: int) -> None:
        self.file.seek(offset)

    async def close(self) -> None:
        self.file.close()


async def read_small_form(request: Request) -> FormData | None:
    """The form that a request sends, if it is small and plain; else None, and the request can be read as ever."""
    content_type = _TYPE.fullmatch(request.headers.get("content-type", ""))
    length = request.headers.get("content-length", "")
    if content_type is None or not length.isdecimal() or int(length) > SMALL_BYTES:
        return None
    try:
        body = await request.body()
    except ClientDisconnect:
        return None
    return parsed(body, content_type[1].encode())


def parsed(body: bytes, boundary: bytes) -> FormData | None:
    """The form with this body (RFC 7578), or None if it isn't plainly one."""
    delimiter = b"\r\n--" + boundary
    first, *others = body.split(delimiter, MOST_PARTS)
    if not first.startswith(delimiter[2:]) or not others or others.pop() not in (b"--\r\n", b"--"):
        return None
    items: list[tuple[str, str | SentFile]] = []
    for part in (first[len(delimiter) - 2 :], *others):
        head, separator, content = part[2:].partition(b"\r\n\r\n")
        described = _PART.fullmatch(head)
        if part[:2] != b"\r\n" or not separator or described is None:
            return None
        name, filename, _ = described.groups()
        if filename is None:
            try:
                items.append((name.decode(), content.decode()))
            except UnicodeDecodeError:
                return None
            continue
        headers = [(key.lower(), value) for key, _, value in (line.partition(b": ") for line in head.split(b"\r\n"))]
        file = MemoryFile(
            io.BytesIO(content), size=len(content), filename=filename.decode(), headers=Headers(raw=headers)
        )
        items.append((name.decode(), file))
    return FormData(items)
