"""Files that clients keep, and ask for again with ``If-None-Match``."""

from pathlib import Path

from fastapi import Request, Response


def kept_file(request: Request, path: Path, media_type: str) -> Response:
    """The file, or 304 if the client has it.

    Raises:
        FileNotFoundError
    """
    known = path.stat()
    etag = f'"{known.st_mtime_ns:x}-{known.st_size:x}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(path.read_bytes(), media_type=media_type, headers=headers)
