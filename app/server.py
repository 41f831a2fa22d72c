"""The API's HTTP server."""

import contextlib
import tempfile
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings

GRACE_S = 20  # for requests under way when the API is told to stop


class Server(uvicorn.Server):
    """Tells its application when it is told to end, so that no listener to events holds it up."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not self.should_exit
        super().handle_exit(sig, frame)
        if first:  # a second signal may come while this is being done
            self._app.state.services.ending.set()


def run(settings: Settings) -> int:
    """Serve the API until SIGTERM or SIGINT; the exit status."""
    app = create_app(settings)
    # Uploads are spooled to the disk that data sets will be on: elsewhere may be little room, or memory.
    spool = settings.data_dir / "tmp"
    spool.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(spool)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=GRACE_S
    )
    server = Server(app, config)
    with contextlib.suppress(KeyboardInterrupt):  # raised once more when all has ended
        server.run()
    return 0 if server.started else 1
