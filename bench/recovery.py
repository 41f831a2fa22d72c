"""What is lost, and for how long nothing comes, when processes of a serving stack are killed under load."""

import asyncio
import os
import signal
import time

import httpx

from bench.load import Answer, measure, percentile, translate_request
from bench.service import picture
from bench.stack import Stack, serving

JOBS = 200
KILLS = 3
KILL_EVERY_S = 5.0
UNDER_WAY_S = 0.1  # that an answer may be on its way
MODEL = "style_monet-lite"
SIDE = 192  # px: large enough for the load to last through all kills


def _kill(stack: Stack, role: str) -> None:
    pid = stack.pid(role)
    assert pid is not None, f"the {role} does not run"
    os.kill(pid, signal.SIGKILL)


def worker_deaths() -> None:
    """kill -9 of the worker, three times under load: requests that wait are all answered."""
    request = translate_request(picture(SIDE), {"model": MODEL, "wait": "120"}, "image/jpeg")

    async def run(stack: Stack) -> tuple[list[Answer], list[float]]:
        load = asyncio.create_task(measure(stack.port, request, clients=16, requests=JOBS))
        killed_s = []
        for _ in range(KILLS):
            await asyncio.sleep(KILL_EVERY_S)
            if load.done():
                break
            killed_s.append(time.perf_counter())
            _kill(stack, "worker")
        answers, _ = await load
        # What comes within the first moment was made by the worker that died.
        pauses = [
            min(answer.at_s for answer in answers if answer.at_s > at_s + UNDER_WAY_S) - at_s for at_s in killed_s
        ]
        return answers, pauses

    with serving() as stack:
        answers, pauses = asyncio.run(run(stack))
    answered = sum(answer.status == 200 for answer in answers)
    slowest = percentile([answer.latency_ms for answer in answers], 100) / 1000
    shown = ", ".join(f"{pause:.1f}" for pause in pauses)
    print(
        f"Worker killed {len(pauses)} times under {JOBS} requests: {answered} answered, {JOBS - answered} lost; "
        f"from kill to the next picture {shown} s; slowest answer {slowest:.1f} s"
    )


def redis_deaths() -> None:
    """kill -9 of Redis, twice while jobs are being accepted: none that was accepted is lost."""
    with serving() as stack, httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client:
        accepted, refused = [], 0
        for number in range(JOBS):
            if number in (JOBS // 3, 2 * JOBS // 3):
                _kill(stack, "redis")
            data = {"model": MODEL, "wait": "0"}
            answer = client.post("/translate", files={"image": picture()}, data=data)
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            else:
                refused += 1
        deadline = time.monotonic() + 120
        states = {}
        while time.monotonic() < deadline:
            states = {job: client.get(f"/jobs/{job}").json().get("status", "lost") for job in accepted}
            if set(states.values()) <= {"succeeded", "failed", "lost"}:
                break
            time.sleep(0.5)
    succeeded = sum(status == "succeeded" for status in states.values())
    print(
        f"Redis killed twice while {JOBS} jobs came: {len(accepted)} accepted, {refused} refused, "
        f"{succeeded} succeeded, {len(accepted) - succeeded} of the accepted lost"
    )
