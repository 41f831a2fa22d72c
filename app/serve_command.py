"""``doppel serve``: all roles on one machine."""

import os
import socket
import sys
import time

import httpx

from app.settings import Settings
from models.errors import DoppelError
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import Supervisor, role_command

READY_TIMEOUT_S = 120.0
SAMPLE = "docs/images/sample-photo.jpg"


def serve(settings: Settings) -> int:
    """Run all roles, and Redis unless one is configured, until Ctrl-C. Returns the exit status."""
    if problem := _port_problem(settings):
        print(f"doppel: {problem}", file=sys.stderr)
        return 1
    embedded = None if settings.redis_url else EmbeddedRedis(settings.data_dir)
    redis_url = settings.redis_url or (embedded.url if embedded else "")
    env = {**os.environ, "DOPPEL_REDIS_URL": redis_url}
    commands = {"api": role_command("api")}
    commands |= {f"worker-{number}": role_command("worker") for number in range(1, settings.workers + 1)}
    commands["preparer"] = role_command("preparer")
    commands |= {f"trainer-{number}": role_command("trainer") for number in range(1, settings.trainers + 1)}
    try:
        supervisor = Supervisor(commands, env=env, redis_url=redis_url, embedded=embedded)
        supervisor.run(on_started=lambda: _announce(settings))
    except DoppelError as error:
        print(f"doppel: {error}", file=sys.stderr)
        return 1
    return 0


def _port_problem(settings: Settings) -> str | None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return (
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); set DOPPEL_PORT to another port"
            )
    return None


def _announce(settings: Settings) -> None:
    """Print the address once the service can translate, with a command to try it."""
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host
    address = f"http://{host}:{settings.port}"
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://{settings.host}:{settings.port}/readyz", trust_env=False).is_success:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    else:
        print(f"Doppel is not ready after {READY_TIMEOUT_S:.0f} s; the lines above say why.", flush=True)
        return
    print(
        f"\nDoppel is at {address} (in a browser: {address}/docs). Try it from this folder:\n\n"
        f"  curl -f -F image=@{SAMPLE} -F model=style_monet {address.removeprefix('http://')}/translate -o out.png\n\n"
        "Ctrl-C stops it.\n",
        flush=True,
    )
