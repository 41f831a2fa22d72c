"""``doppel status``: what a server is doing, in a terminal."""

import os
import sys
from collections.abc import Iterator

import httpx
from pydantic import ValidationError

from app.schemas import ProblemDetails
from app.server import origin
from app.settings import Settings
from app.status_schemas import ServerStatus
from worker.overview import QueueLoad

TIMEOUT_S = 30.0
UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def show_status(settings: Settings, url: str | None, *, as_json: bool) -> int:
    """Print what ``GET /status`` says; the exit status: 1 if the server does not answer, or refuses.

    Args:
        url: of the server; None: ``DOPPEL_URL``, or where a server with these settings listens.
        as_json: print the answer as it is.
    """
    url = (url or os.environ.get("DOPPEL_URL") or _own(settings)).rstrip("/")
    key = os.environ.get("DOPPEL_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url}/status", headers=headers, timeout=TIMEOUT_S)
        if not answer.is_success:
            return _complain(url, _reason(answer))
        status = ServerStatus.model_validate_json(answer.content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _complain(url, str(error) or type(error).__name__)
    except ValidationError:
        return _complain(url, "the answer is not that of a Doppel of this version")
    print(answer.text if as_json else "\n".join(_lines(url, status)))
    return 0


def _own(settings: Settings) -> str:
    host = UNSPECIFIED.get(settings.host, settings.host)
    return f"http://{origin(host, settings.port)}{settings.root_path}"


def _reason(answer: httpx.Response) -> str:
    try:
        return ProblemDetails.model_validate_json(answer.content).detail
    except ValidationError:  # it is no Doppel, or a proxy's page
        return f"it answered {answer.status_code}"


def _complain(url: str, why: str) -> int:
    print(f"doppel: {url}: {why}", file=sys.stderr)
    return 1


def _lines(url: str, status: ServerStatus) -> Iterator[str]:
    yield f"Doppel {status.version} at {url} is {'ready' if status.ready else 'not ready'}."
    yield ""
    for name, load in status.queues:
        if isinstance(load, QueueLoad):
            oldest = "" if load.oldest_waiting_s is None else f", the first for {_duration(load.oldest_waiting_s)}"
            limit = f", at most {status.queue_limit}" if name == "pictures" else ""
            yield f"{name:10}{load.waiting} waiting{oldest}{limit}; {load.running} running"
    yield ""
    for worker in status.workers:
        memory = [_memory(worker.memory_mb)] if worker.memory_mb is not None else []
        memory += [f"{_memory(worker.gpu_memory_mb)} of GPU"] if worker.gpu_memory_mb is not None else []
        loaded = ", ".join(worker.loaded) or "no model loaded"
        yield _process("worker", worker.name, worker.seen_s, worker.device, *memory, loaded)
    for trainer in status.trainers:
        gpus = [f"GPU of {_memory(mb)}" for mb in trainer.gpu_memory_mb]
        yield _process(
            "trainer", trainer.name, trainer.seen_s, f"{trainer.cores} cores", _memory(trainer.memory_mb), *gpus
        )
    for preparer in status.preparers:
        yield _process("preparer", preparer.name, preparer.seen_s, preparer.queue)
    for kind, found in (("worker", status.workers), ("trainer", status.trainers), ("preparer", status.preparers)):
        if not found:
            yield f"{kind:10}none"
    yield ""
    yield f"{'training':10}{', '.join(status.runs_running) or 'no run'} running; {len(status.runs_queued)} waiting"
    machine = status.machine
    free = machine.memory_free_mb
    memory_free = "" if free is None else f", {_memory(free)} of {_memory(machine.memory_mb or 0)} memory free"
    yield f"{'machine':10}{machine.host}: {machine.cores} cores, load {machine.load:.1f}{memory_free}"
    yield f"{'disk':10}{_memory(status.disk.free_mb)} of {_memory(status.disk.total_mb)} free"
    limit_mb = status.queues.redis_limit_mb
    yield f"{'redis':10}{_memory(status.queues.redis_used_mb)} of {_memory(limit_mb) if limit_mb else 'any'} used"


def _process(kind: str, name: str, seen_s: float, *facts: str) -> str:
    return f"{kind:10}{name}: {', '.join(facts)}; seen {_duration(seen_s)} ago"


def _duration(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _memory(mib: int) -> str:
    return f"{mib / 1024:.1f} GB" if mib >= 1024 else f"{mib} MB"
