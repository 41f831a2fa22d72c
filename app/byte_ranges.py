"""Byte ranges of files that are answered from memory (RFC 9110, section 14). Safari plays no video without them."""

import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RangeNotSatisfiable, answer

FILE_TYPES = ("image/", "video/", "application/zip", "application/octet-stream")
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")  # several ranges at once are answered with the whole


class ByteRanges:
    """Adds ``Accept-Ranges`` and ``ETag`` to files, and answers 206 with the part that ``Range`` asks for, or 416.

    It leaves alone what is sent in pieces. Starlette's ``FileResponse``, for files on disk, knows ranges itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        wanted = Headers(scope=scope)
        start: Message | None = None

        async def send_part(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_file(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            first, start = start, None
            if message["type"] != "http.response.body" or message.get("more_body"):
                await send(first)
                await send(message)
                return
            body = message.get("body", b"")
            headers = MutableHeaders(raw=first["headers"])
            headers["Accept-Ranges"] = "bytes"
            if "etag" not in headers:
                headers["ETag"] = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            part = _part(wanted, headers["ETag"], len(body))
            if part is not None and not part:
                error = RangeNotSatisfiable(f"Range: {wanted['range'][:80]} is beyond the file's {len(body)} bytes.")
                await answer(error, {"Content-Range": f"bytes */{len(body)}"})(scope, receive, send)
                return
            if part is not None:
                first["status"] = 206
                headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
                headers["Content-Length"] = str(len(part))
                body = body[part.start : part.stop]
            await send(first)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_part)


def _is_file(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        start["status"] == 200
        and headers.get("content-type", "").startswith(FILE_TYPES)
        and "accept-ranges" not in headers
    )


def _part(wanted: Headers, etag: str, size: int) -> range | None:
    """The bytes that are asked for: an empty range if there are none such, None for the whole file."""
    asked = _RANGE.fullmatch(wanted.get("range", ""))
    if asked is None or wanted.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if first:
        if last and int(last) < int(first):  # not valid, hence ignored
            return None
        return range(int(first), min(int(last) + 1, size) if last else size)
    return range(max(0, size - int(last)), size) if last else None
