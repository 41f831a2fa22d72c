"""GET /: the studio, a page for people, and its files. It uses nothing but the public API."""

import functools
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from models.errors import NotFound

FOLDER = Path(__file__).resolve().parent.parent / "studio"
PAGE = "index.html"
PREFIX = "studio"  # the first part of the files' addresses
SERVED = {  # not by the module mimetypes, which answers as the machine is set up
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
A_YEAR_S = 365 * 24 * 3600
# Nothing from elsewhere, and no script or style in the page itself; `blob:` is pictures that a person chose or got.
POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class StaticFile:
    """A file of the page, as it is sent."""

    content: bytes
    gzipped: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "StaticFile":
        etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        return cls(content, gzip.compress(content, mtime=0), SERVED[Path(name).suffix], etag)


@dataclass(frozen=True)
class Page:
    """The page and its files.

    The files' addresses contain a digest of them all, so that a browser may keep them without ever asking again; they
    name one another by relative addresses and need not know it.
    """

    version: str
    html: StaticFile
    files: dict[str, StaticFile]


@functools.cache
def page() -> Page:
    """Read the page, once a process."""
    contents = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in SERVED
    }
    version = hashlib.sha256(repr(contents).encode()).hexdigest()[:12]
    html = contents.pop(PAGE).replace(b'"studio/', f'"{PREFIX}/{version}/'.encode())
    files = {name: StaticFile.of(name, content) for name, content in contents.items()}
    return Page(version, StaticFile.of(PAGE, html), files)


@router.get("/")
async def read_page(request: Request) -> Response:
    """The page. All its addresses are relative, so that it works behind a reverse proxy that adds a path prefix."""
    return _answer(request, page().html, "no-cache")


@router.get("/studio/{version}/{name:path}")
async def read_page_file(request: Request, version: str, name: str) -> Response:
    """A file of the page. Another version's address, of a page that was loaded before an upgrade, gives today's."""
    found = page().files.get(name)
    if found is None:
        raise NotFound(f"The studio has no file {name[:100]!r}.")
    known = version == page().version
    return _answer(request, found, f"public, max-age={A_YEAR_S}, immutable" if known else "no-cache")


def _answer(request: Request, file: StaticFile, caching: str) -> Response:
    gzipped = "gzip" in request.headers.get("accept-encoding", "")
    etag = f'{file.etag[:-1]}-gzip"' if gzipped else file.etag  # each encoding is a file of its own
    headers = HEADERS | {"Cache-Control": caching, "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if gzipped:
        return Response(file.gzipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
