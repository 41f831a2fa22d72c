"""What is lost, and for how long nothing comes, when processes of a serving stack are killed under load."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from bench.load import Answer, measure, percentile, translate_request
from bench.service import picture
from tests.processes import child, eventually, free_port, process, ready

JOBS = 200
KILLS = 3
KILL_EVERY_S = 5.0
UNDER_WAY_S = 0.1  # that an answer may be on its way
MODEL = "style_monet-lite"
SIDE = 192  # px: large enough for the load to last through all kills


@contextmanager
def stack() -> Iterator[tuple[int, int]]:
    """``doppel serve`` with the weights that ship: its process id and port."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        env = os.environ | {"DOPPEL_PORT": str(port), "DOPPEL_DATA_DIR": folder, "DOPPEL_OFFLINE": "1"}
        with (
            process(sys.executable, "-m", "app.cli", "serve", env=env) as supervisor,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            eventually(lambda: ready(client), within_s=60)
            yield supervisor.pid, port
            supervisor.send_signal(signal.SIGINT)
            supervisor.wait(timeout=60)


def _kill(supervisor: int, name: str) -> None:
    pid = child(supervisor, name)
    assert pid is not None, f"{name} does not run"
    os.kill(pid, signal.SIGKILL)


def worker_deaths() -> None:
    """kill -9 of the worker, three times under load: requests that wait are all answered."""
    request = translate_request(picture(SIDE), {"model": MODEL, "wait": "120"}, "image/jpeg")

    async def run(supervisor: int, port: int) -> tuple[list[Answer], list[float]]:
        load = asyncio.create_task(measure(port, request, clients=16, requests=JOBS))
        killed_s = []
        for _ in range(KILLS):
            await asyncio.sleep(KILL_EVERY_S)
            if load.done():
                break
            killed_s.append(time.perf_counter())
            _kill(supervisor, "doppel worker")
        answers, _ = await load
        # What comes within the first moment was made by the worker that died.
        pauses = [
            min(answer.at_s for answer in answers if answer.at_s > at_s + UNDER_WAY_S) - at_s for at_s in killed_s
        ]
        return answers, pauses

    with stack() as (supervisor, port):
        answers, pauses = asyncio.run(run(supervisor, port))
    answered = sum(answer.status == 200 for answer in answers)
    slowest = percentile([answer.latency_ms for answer in answers], 100) / 1000
    shown = ", ".join(f"{pause:.1f}" for pause in pauses)
    print(
        f"Worker killed {len(pauses)} times under {JOBS} requests: {answered} answered, {JOBS - answered} lost; "
        f"from kill to the next picture {shown} s; slowest answer {slowest:.1f} s"
    )


def redis_deaths() -> None:
    """kill -9 of Redis, twice while jobs are being accepted: none that was accepted is lost."""
    with stack() as (supervisor, port), httpx.Client(timeout=120, trust_env=False) as client:
        base = f"http://127.0.0.1:{port}"
        accepted, refused = [], 0
        for number in range(JOBS):
            if number in (JOBS // 3, 2 * JOBS // 3):
                _kill(supervisor, "redis.sock")
            data = {"model": MODEL, "wait": "0"}
            answer = client.post(f"{base}/translate", files={"image": picture()}, data=data)
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            else:
                refused += 1
        deadline = time.monotonic() + 120
        states = {}
        while time.monotonic() < deadline:
            states = {job: client.get(f"{base}/jobs/{job}").json().get("status", "lost") for job in accepted}
            if set(states.values()) <= {"succeeded", "failed", "lost"}:
                break
            time.sleep(0.5)
    succeeded = sum(status == "succeeded" for status in states.values())
    print(
        f"Redis killed twice while {JOBS} jobs came: {len(accepted)} accepted, {refused} refused, "
        f"{succeeded} succeeded, {len(accepted) - succeeded} of the accepted lost"
    )
