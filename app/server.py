"""The API's HTTP server, and the address that it listens on."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.connections import Bounds, bounded, close_overdue, within_descriptors
from app.guards import is_loopback
from app.keys import KeyRing
from app.main import create_app, prepare
from app.settings import LISTENER, Settings
from models.errors import PlaceError
from models.heap import give_back_large_blocks
from models.store.files import require_writable
from worker.connection import require_redis
from worker.embedded_redis import socket_url
from worker.errors import QueueUnreachable
from worker.supervisor import Supervisor

SPOOL = "tmp"  # in DATA_DIR
GRACE_S = 20  # for requests under way when the API is told to stop
TICKS_OF_SWEEP = 5  # of 0.1 s, between two looks at how long clients have kept still


log = logging.getLogger("doppel.api")


def bound_socket(settings: Settings) -> socket.socket:
    """A socket at the address of the settings, at which nobody listens yet.

    Raises:
        PlaceError: the address can't be had, or should not be; the message says why.
    """
    _require_guard(settings)
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        found.sort(key=lambda one: one[0] != socket.AF_INET)  # localhost: 127.0.0.1 before ::1
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE or isinstance(error, PermissionError)
        setting = "DOPPEL_PORT to another port" if in_use else "DOPPEL_HOST to an address of this machine"
        raise PlaceError(f"cannot listen on {origin(host, port)} ({error.strerror}); set {setting}") from error
    return listener


def _require_guard(settings: Settings) -> None:
    """Refuse to let a network in without API keys, unless that is what the operator wants.

    Raises:
        PlaceError: the settings let it in, or the keys can't be used.
    """
    if KeyRing.of(settings) is None and not (settings.allow_anonymous or is_loopback(settings.host)):
        raise PlaceError(
            f"DOPPEL_HOST is {settings.host}, and there are no API keys: whoever reaches this machine could do "
            "everything. Make a key with doppel key new, and name its file in DOPPEL_API_KEYS_FILE; or, if something "
            "else keeps strangers out, set DOPPEL_ALLOW_ANONYMOUS=1"
        )


def who_may(settings: Settings) -> str:
    """Who may use the service, as a sentence."""
    if settings.has_keys:
        return "It asks for an API key."
    if is_loopback(settings.host):
        return "It has no API keys, so it listens on this machine only."
    return "It has no API keys: whoever can reach it may do everything."


def origin(host: str, port: int) -> str:
    """``host:port`` as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server, with bounds on its connections.

    It tells its application when it is told to end, so that no listener to events holds it up.
    """

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not self.should_exit
        super().handle_exit(sig, frame)
        if first:  # a second signal may come while this is being done
            self._app.state.services.ending.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_OF_SWEEP == 0:
            close_overdue(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def server_of(app: FastAPI, bounds: Bounds, **options: Any) -> Server:
    """A server of ``app`` that keeps its clients within ``bounds``.

    Args:
        options: of ``uvicorn.Config``.
    """
    config = uvicorn.Config(
        app,
        http=bounded(bounds),
        ws="none",
        server_header=False,
        log_config=None,  # its lines look like all others
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
        **options,
    )
    return Server(app, config)


def api_roles(listener: socket.socket, count: int) -> dict[str, list[str]]:
    """Names and arguments of ``count`` processes that answer what comes in at a socket that they inherit."""
    arguments = ["api", LISTENER, str(listener.fileno())]
    return {f"api-{number}": arguments for number in range(1, count + 1)}


def run_several(settings: Settings, run_role: Callable[[list[str]], int]) -> int:
    """Serve the API by several processes until SIGTERM or SIGINT, and start again those that die; the exit status.

    They listen on one socket, which this process keeps open: while one of them is away, the others answer.

    Args:
        run_role: runs the role that these arguments of ``doppel`` name.

    Raises:
        PlaceError, RedisUnusable: as :func:`run`.
    """
    redis_url = settings.redis_url or socket_url(settings.data_dir)
    with bound_socket(settings) as listener:
        _require_places(settings)
        _log_address(settings, listener)
        roles = api_roles(listener, settings.api_process_count)
        env = os.environ | {"DOPPEL_HOST": settings.host}
        prepare(settings)
        Supervisor(roles, env=env, redis_url=redis_url, embedded=None, run_role=run_role, listener=listener).run()
    return 0


def _log_address(settings: Settings, listener: socket.socket) -> None:
    address = origin(*listener.getsockname()[:2])
    log.info("listening on http://%s, data in %s. %s", address, settings.data_dir, who_may(settings))


def _require_places(settings: Settings) -> None:
    """Check the data folder and Redis.

    Raises:
        PlaceError, RedisUnusable: as :func:`run`.
    """
    # Uploads are spooled to the disk that data sets will be on: elsewhere may be little room, or memory.
    require_writable(settings.data_dir / SPOOL, "DOPPEL_DATA_DIR")
    try:
        require_redis(settings.redis_url or socket_url(settings.data_dir))
    except QueueUnreachable as error:  # it may start after this; until then requests get 503
        log.warning("%s", error)


def run(settings: Settings, inherited: int | None = None) -> int:
    """Serve the API until SIGTERM or SIGINT; the exit status.

    Args:
        inherited: the file descriptor of a socket to listen on, which several processes share; None: one of its own.

    Raises:
        PlaceError: the address can't be had, or the data folder can't be written to.
        RedisUnusable: what answers as Redis is none that jobs are safe in.
    """
    with bound_socket(settings) if inherited is None else socket.socket(fileno=inherited) as listener:
        _require_places(settings)
        give_back_large_blocks()
        app = create_app(settings)
        tempfile.tempdir = str(settings.data_dir / SPOOL)
        server = server_of(app, Bounds(connections=within_descriptors(settings.max_connections)))
        if inherited is None:
            _log_address(settings, listener)
        with contextlib.suppress(KeyboardInterrupt):  # raised once more when all has ended
            server.run(sockets=[listener])
        return 0 if server.started else 1
