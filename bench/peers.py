"""Doppel beside what people would run instead, in one run on one machine: plain FastAPI, LitServe, a naive queue.

Each peer has an environment of its own with the packages that it needs, in a folder that is removed in the end. Torch
and the generator's code come from this environment, so all compute with the same. The clients are the same for all.

``python -m bench.peers FILE.svg`` draws the figures, too.
"""

import asyncio
import io
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import torch
from PIL import Image

from bench import machine
from bench.chart import draw_bars
from bench.load import measure, percentile, translate_request
from bench.peer_servers import EACH_MS, FIXED_MS
from bench.service import full_service, service, until_up
from models.device import computes_bfloat16
from tests.processes import free_port, process
from worker.embedded_redis import EmbeddedRedis

ROOT = Path(__file__).parent.parent
WEB = ("fastapi", "uvicorn[standard]", "python-multipart", "pillow", "numpy")
PACKAGES = {"fastapi": WEB, "litserve": (*WEB, "litserve"), "rq": (*WEB, "rq")}
SIGNED, UNSIGNED = "Doppel", "Doppel, unsigned"  # with Content Credentials, and as the others answer
NAMES = {"fastapi": "FastAPI, a thread", "litserve": "LitServe", "rq": "FastAPI + RQ, polled"}
ROUNDS = 3  # of each measurement, in turn with the others; the best counts


@dataclass(frozen=True)
class Case:
    """A kind of load. Latency is measured with one client, throughput with several."""

    title: str
    network: str
    upload: tuple[int, int]  # px, width and height
    side: int  # px, of the answer
    media_type: str
    clients: int
    requests: int
    peers: Sequence[str] = ("fastapi", "litserve", "rq")


CASES = (
    Case("64 px, p50 of 1 client, ms", "null", (64, 64), 64, "image/jpeg", 1, 300),
    Case("64 px, 8 clients, /s", "null", (64, 64), 64, "image/jpeg", 8, 600),
    Case("1024 × 768 to 256² PNG, 8 clients, /s", "null", (1024, 768), 256, "image/png", 8, 200),
    Case(f"fake model {FIXED_MS} + {EACH_MS} ms, 32 clients, /s", "fake", (64, 64), 64, "image/jpeg", 32, 400),
    Case("CycleGAN 256², 2 clients, /s", "cyclegan", (256, 256), 256, "image/png", 2, 16, ("fastapi", "litserve")),
)


def table(chart: Path | None = None) -> None:
    """All cases as a table in Markdown, a row as soon as it is measured; beside each figure its ratio to plain FastAPI.

    Args:
        chart: a file for the figures as bars, if they are to be drawn.
    """
    names = (SIGNED, UNSIGNED, *NAMES.values())
    precision = "bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32"
    print(f"{machine.cpu()}; torch computes in {precision}\n")
    print("| | " + " | ".join(names) + " |\n| --- |" + " ---: |" * len(names), flush=True)
    drawn = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as environments:
        pythons = {kind: environments.enter_context(_environment(Path(folder) / kind, kind)) for kind in PACKAGES}
        for case in CASES:
            results = _measured(case, pythons, Path(folder))
            base = results[NAMES["fastapi"]][0]
            cells = [_cell(case, *results[name], base) if name in results else "" for name in names]
            print(f"| {case.title} | " + " | ".join(cells) + " |", flush=True)
            drawn.append((case.title, [(name, figure) for name, (figure, _) in results.items()]))
    print(
        "\nIn brackets: the ratio to plain FastAPI, and the CPU time of all processes but the client for one picture."
    )
    if chart is not None:
        draw_bars(chart, f"Doppel and what people would run instead ({machine.cpu()})", drawn)


def _measured(case: Case, pythons: dict[str, str], folder: Path) -> dict[str, tuple[float, float]]:
    """Name → (figure, CPU ms a picture). The services run at the same time, and are measured in turn."""
    request = translate_request(
        _photo(*case.upload), {"model": "fake", "resolution": str(case.side), "fit": "square"}, case.media_type
    )
    plain_request = translate_request(_photo(*case.upload), {}, case.media_type)
    with ExitStack() as services:
        targets = {
            name: _started(services, _doppel(case, signed=name == SIGNED), request) for name in (SIGNED, UNSIGNED)
        }
        for kind in case.peers:
            targets[NAMES[kind]] = _started(services, _peer(kind, pythons[kind], case, folder), plain_request)
        best: dict[str, tuple[float, float]] = {}
        better: Callable[..., tuple[float, float]] = min if case.clients == 1 else max
        for target in targets.values():
            _warm_up(case, target)
        for _ in range(ROUNDS):
            for name, target in targets.items():
                figure = _figure(case, target)
                best[name] = better(best.get(name, figure), figure)
        return best


@dataclass(frozen=True)
class _Target:
    port: int
    request: bytes
    processes: list[psutil.Process]


def _started(services: ExitStack, starting: AbstractContextManager[int], request: bytes) -> _Target:
    before = set(psutil.Process().children(recursive=True))
    port = services.enter_context(starting)
    return _Target(port, request, list(set(psutil.Process().children(recursive=True)) - before))


def _warm_up(case: Case, target: _Target) -> None:
    """Send requests until all succeed: some servers accept connections before they can answer.

    Raises:
        SystemExit: none do within a minute.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            requests = max(case.clients, case.requests // 6)
            answers, _ = asyncio.run(measure(target.port, target.request, case.clients, requests))
        except (OSError, EOFError):
            answers = []
        if answers and all(answer.status == 200 for answer in answers):
            return
        time.sleep(0.5)
    raise SystemExit(f"a service does not answer: {[answer.status for answer in answers][:3]}")


def _figure(case: Case, target: _Target) -> tuple[float, float]:
    before = _cpu_s(target.processes)
    answers, seconds = asyncio.run(measure(target.port, target.request, case.clients, case.requests))
    cpu_ms = (_cpu_s(target.processes) - before) / case.requests * 1000
    failed = [answer.status for answer in answers if answer.status != 200]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(answers)} requests failed, the first with {failed[0]}")
    if case.clients == 1:
        return percentile([answer.latency_ms for answer in answers], 50), cpu_ms
    return case.requests / seconds, cpu_ms


def _cell(case: Case, figure: float, cpu_ms: float, base: float) -> str:
    shown = f"{figure:.1f}" if figure < 20 else f"{figure:.0f}"
    return f"{shown} ({figure / base:.2f} ×, {cpu_ms:.1f} ms)"


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return float(sum(one.user + one.system for one in times))


@contextmanager
def _environment(folder: Path, kind: str) -> Iterator[str]:
    """A virtual environment with the peer's packages; its Python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-compile", *PACKAGES[kind]], check=True)
    own = next(folder.glob("lib/python*/site-packages"))
    # Last on the path, for what this environment has and the peer's lacks: torch.
    (own / "zz-doppel.pth").write_text("\n".join([str(Path(torch.__file__).parent.parent), str(ROOT)]) + "\n")
    yield str(python)


@contextmanager
def _peer(kind: str, python: str, case: Case, folder: Path) -> Iterator[int]:
    port = free_port()
    module = ("bench.peer_litserve",) if kind == "litserve" else ("bench.peer_servers", kind)
    command = (python, "-m", *module, str(port), case.network, str(case.side), case.media_type)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with ExitStack() as processes:
        if kind == "rq":
            redis = EmbeddedRedis(folder / f"redis-{port}")
            redis.start()
            processes.callback(redis.stop)
            env["REDIS_URL"] = redis.url
            worker = ("-m", "rq.cli", "worker", "-q", "--url", redis.url, "--worker-class", "rq.SimpleWorker")
            processes.enter_context(process(python, *worker, env=env))
        server = processes.enter_context(process(*command, env=env))
        asyncio.run(until_up(port))
        try:
            yield port
        finally:
            for one in psutil.Process(server.pid).children(recursive=True):  # LitServe's outlive it
                one.kill()


@contextmanager
def _doppel(case: Case, *, signed: bool) -> Iterator[int]:
    with patch.dict(os.environ, DOPPEL_CONTENT_CREDENTIALS=str(signed).lower()):
        if case.network == "cyclegan":
            with full_service("fake", ngf=64, n_blocks=9) as port:
                yield port
        else:
            options = ("--fixed-ms", str(FIXED_MS), "--each-ms", str(EACH_MS)) if case.network == "fake" else ()
            with service(*options, "--max-batch", "16") as port:
                yield port


def _photo(width: int, height: int) -> bytes:
    """A JPEG as large as a photo of this size."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (max(1, height // 8), max(1, width // 8), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    table(Path(sys.argv[1]))
