"""The service around a fake model: what batches gain, and what the service adds to a model's own time."""

import asyncio
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from bench.load import Answer, measure, percentile, translate_request
from models.cyclegan import ResnetGenerator
from models.store.catalog import CARD_FILE, WEIGHTS_FILE
from models.weights.doctor import save
from tests.conftest import add_model, add_stargan
from tests.processes import eventually, fake_worker_program, free_port, process, ready
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import role_command

FIXED_MS, EACH_MS = 20, 2
SIDE = 64  # px: the codecs' time is another question


def picture(side: int = SIDE) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


@contextmanager
def service(*worker_options: str) -> Iterator[int]:
    """Redis, the API and one worker with a fake model, all as processes; the API's port."""
    with tempfile.TemporaryDirectory() as folder:
        add_model(Path(folder) / "weights", "fake", ready=True)
        add_stargan(Path(folder) / "weights", "styled")
        with _api(Path(folder)) as (port, env), fake_worker_program(env["DOPPEL_REDIS_URL"], *worker_options):
            yield port


@contextmanager
def full_service(name: str, **network: int) -> Iterator[int]:
    """Redis, the API and ``doppel worker`` with a CycleGAN of random weights, all as processes; the API's port."""
    with tempfile.TemporaryDirectory() as folder:
        weights = add_model(Path(folder) / "weights", name, ready=True, network=network) / WEIGHTS_FILE
        torch.manual_seed(0)
        save(ResnetGenerator(**network).state_dict(), weights)
        card = weights.parent / CARD_FILE
        card.write_text(re.sub(r'"sha256":"\w+"', '"sha256":null', card.read_text()))
        with _api(Path(folder)) as (port, env):
            worker = process(sys.executable, *role_command("worker"), env=env | {"DOPPEL_PRELOAD": name})
            with worker, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                eventually(lambda: ready(client))
                yield port


@contextmanager
def _api(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Redis and the API as processes, with the models in ``folder``; the API's port, and its environment."""
    port = free_port()
    redis_server = EmbeddedRedis(folder)
    redis_server.start()
    settings = {"PORT": str(port), "REDIS_URL": redis_server.url, "OFFLINE": "1", "DATA_DIR": str(folder)}
    settings |= {"WEIGHTS_DIR": f"{folder}/weights"}
    env = os.environ | {f"DOPPEL_{name}": value for name, value in settings.items()}
    with process(sys.executable, *role_command("api"), env=env):
        asyncio.run(until_up(port))
        yield port, env
    redis_server.stop()


async def until_up(port: int) -> None:
    """Wait until something listens on the port.

    Raises:
        OSError: nothing does within a minute.
    """
    deadline = time.monotonic() + 60
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def throughput() -> None:
    """Pictures per second through HTTP, one by one and in batches."""
    request = translate_request(picture(), {"model": "fake"}, "image/jpeg")
    rates = {}
    for max_batch, requests in ((1, 200), (16, 1000)):
        model = ("--fixed-ms", str(FIXED_MS), "--each-ms", str(EACH_MS))
        with service(*model, "--max-batch", str(max_batch)) as port:
            asyncio.run(measure(port, request, clients=32, requests=64))
            answers, seconds = asyncio.run(measure(port, request, clients=32, requests=requests))
        _require_success(answers)
        rates[max_batch] = requests / seconds
    print(f"Fake model, {FIXED_MS} ms + {EACH_MS} ms a picture, 32 clients, {SIDE} × {SIDE} JPEG in and out")
    print(f"  one by one        {rates[1]:6.0f} pictures/s")
    print(f"  batches of 16     {rates[16]:6.0f} pictures/s  = {rates[16] / rates[1]:.1f} × one by one (target 5)")


def mixed() -> None:
    """How long jobs wait when two families and two shapes share one worker, and whether any kind starves."""
    wide = picture(2 * SIDE)
    requests = {
        "CycleGAN 64 px": translate_request(picture(), {"model": "fake"}, "image/jpeg"),
        "CycleGAN 128 px": translate_request(wide, {"model": "fake"}, "image/jpeg"),
        "StarGAN 64 px": translate_request(picture(), {"model": "styled", "seed": "1"}, "image/jpeg"),
        "StarGAN 128 px": translate_request(wide, {"model": "styled", "seed": "2", "resolution": "128"}, "image/jpeg"),
    }

    async def together(port: int) -> list[list[Answer]]:
        # The first kind comes in far greater numbers than the others.
        load = {"CycleGAN 64 px": (24, 600)}
        runs = (measure(port, request, *load.get(kind, (4, 60))) for kind, request in requests.items())
        return [answers for answers, _ in await asyncio.gather(*runs)]

    with service("--fixed-ms", str(FIXED_MS), "--each-ms", str(EACH_MS), "--max-batch", "16") as port:
        of_kinds = asyncio.run(together(port))
    waits = [answer.stages_ms["queue"] for answers in of_kinds for answer in answers]
    print(f"Mixed load on one worker, {FIXED_MS} ms + {EACH_MS} ms a picture, batches of at most 16")
    for kind, answers in zip(requests, of_kinds, strict=True):
        _require_success(answers)
        own = [answer.stages_ms["queue"] for answer in answers]
        print(f"  {kind:16} {len(own):4} jobs waited {sum(own) / len(own):4.0f} ms, at worst {max(own):4.0f}")
    print(f"  worst wait {max(waits) / (sum(waits) / len(waits)):.1f} × the mean of all")


def latency() -> None:
    """What the service adds at one client to a plain FastAPI with the same codecs, when the model takes no time."""
    with service() as port, plain() as plain_port:
        for side in (SIDE, 256):
            request = translate_request(picture(side), {"model": "fake"}, "image/jpeg")
            p50_ms = []
            for each in (plain_port, port):
                asyncio.run(measure(each, request, clients=1, requests=50))
                answers, _ = asyncio.run(measure(each, request, clients=1, requests=400))
                _require_success(answers)
                p50_ms.append(percentile([answer.latency_ms for answer in answers], 50))
            print(
                f"Null model, one client, {side} × {side} JPEG in and out: p50 {p50_ms[1]:.1f} ms, plain FastAPI "
                f"{p50_ms[0]:.1f} ms: {p50_ms[1] - p50_ms[0]:.1f} ms added (target 5)"
            )


@contextmanager
def plain() -> Iterator[int]:
    """The plain FastAPI of bench/plain.py as a process; its port."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "bench.plain:app", "--port", str(port), "--log-level", "warning")
    with process(*command):
        asyncio.run(until_up(port))
        yield port


def _require_success(answers: list[Answer]) -> None:
    failed = [answer.status for answer in answers if answer.status != 200]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(answers)} requests failed, the first with {failed[0]}")
