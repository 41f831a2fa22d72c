"""Workers with real models, without the API: how fast one starts, what it takes, and what a second one brings."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil

from bench.resident import resident_mb, sample
from models.cores import usable_cores
from tests.blocking_queue import BlockingQueue
from tests.processes import ROOT, eventually, process
from worker.contract import Task
from worker.embedded_redis import EmbeddedRedis
from worker.inference_queue import InferenceQueue
from worker.supervisor import role_command

MODELS = ("style_monet-lite", "monet2photo-lite")
STARTS = 3
PICTURES = 40
ROUNDS = 3


def first_picture() -> None:
    """From the start of a worker, with nothing loaded before, to the first picture; then both small models."""
    with _redis() as (queue, env):
        with process(*role_command("worker"), env=env):
            _translated(queue, 1)  # after which there is bytecode of all modules
        for _ in range(STARTS):
            started = time.perf_counter()
            with process(*role_command("worker"), env=env) as worker:
                _translated(queue, 1)
                seconds = time.perf_counter() - started
                of_processor_s = sum(psutil.Process(worker.pid).cpu_times()[:2])
                for model in MODELS:
                    _translated(queue, 2, model)
                print(
                    f"Worker: first picture {seconds:.2f} s after its start ({of_processor_s:.2f} s of processor time; "
                    f"target 1 s), resident with two small models {resident_mb(worker.pid):.0f} MB (target 250)"
                )


def two_workers() -> None:
    """Pictures per second of one worker on all cores, of two that divide them, and of two that don't."""
    cores = usable_cores()
    kinds = {
        "one worker": [cores],
        "one worker, a core left to others": [max(1, cores - 1)],
        "two that divide the cores": [max(1, cores // 2)] * 2,
        "two on all cores each": [cores] * 2,
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    with _redis() as (queue, env):
        for _ in range(ROUNDS):  # in turn, since the machine's speed changes
            for kind, threads in kinds.items():
                with ExitStack() as stack:
                    for count in threads:
                        own = env | {"DOPPEL_WORKER_THREADS": str(count)}
                        stack.enter_context(process(*role_command("worker"), env=own))
                    eventually(partial(_at_work, queue, len(threads)))
                    _translated(queue, 2 * len(threads))
                    started = time.perf_counter()
                    _translated(queue, PICTURES)
                    rates[kind].append(PICTURES / (time.perf_counter() - started))
                eventually(partial(_at_work, queue, 0))
    for kind, measured in rates.items():
        ratio = sorted(own / one for own, one in zip(measured, rates["one worker"], strict=True))[ROUNDS // 2]
        print(f"{kind}: {ratio:.2f} × the pictures/s of one worker on {cores} cores ({max(measured):.1f}/s)")


@contextmanager
def _redis() -> Iterator[tuple[BlockingQueue, dict[str, str]]]:
    """A queue, and the environment of its workers."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder))
        server.start()
        settings = {"REDIS_URL": server.url, "OFFLINE": "1", "DATA_DIR": folder, "WEIGHTS_DIR": str(ROOT / "weights")}
        settings |= {"DEVICE": "cpu", "PRELOAD": ""}
        env = os.environ | {f"DOPPEL_{name}": value for name, value in settings.items()}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start would compile our modules, as only the first does
        yield BlockingQueue(server.url), env
        server.stop()


def _at_work(queue: InferenceQueue, count: int) -> bool:
    return len(queue.workers(seen_within_s=2)) == count


def _translated(queue: BlockingQueue, count: int, model: str = MODELS[0]) -> None:
    """Wait until as many pictures are translated."""
    picture = sample()
    height, width, _ = picture.shape
    task = Task(model=model, height=height, width=width)
    jobs = [queue.submit(task, picture, decode_ms=0) for _ in range(count)]
    eventually(lambda: all(queue.state(job).status.ended for job in jobs), every_s=0.01)
    failed = [queue.state(job).error for job in jobs if queue.state(job).error]
    assert not failed, failed
