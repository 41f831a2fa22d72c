"""Kill, stop and starve the roles of a serving stack under load, in a random order that a seed gives.

What was accepted must be answered or visibly fail, exactly once. Each request carries a mark: as ``Idempotency-Key``,
so that a client whose connection broke can send it again, and as ``X-Request-Id``, which the worker logs when it has
computed the picture.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from app.settings import PREPARER_JOBS
from bench.service import picture
from bench.stack import Stack, serving
from tests.training import add_dataset, cyclegan
from worker.embedded_redis import MAX_MEMORY_MB

ROUNDS = 2
SEED = 1
CLIENTS = 3
PAUSE_S = 0.3  # of a client between two requests
RETRY_S = 0.1
CALM_S = 4.0  # between the recovery from one disturbance and the next
RECOVERED_WITHIN_S = 60.0
GIVE_UP_S = 90.0  # on a request that is refused again and again
MODEL = "style_monet-lite"
SIDE = 96  # px
DISK_MB = 400
STOPPED_S = {"worker": 8.0, "redis": 3.0, "api": 3.0}  # a worker for longer than its lease
FULL_S = 5.0
KILLED = ("api", "worker", "trainer", "preparer", "redis")
TARGET_S = {"kill api": 3.0, "kill worker": 2.0}


@dataclass
class Order:
    """What became of one request."""

    job: str | None = None
    outcome: str = "not accepted"


@dataclass
class Load:
    """Clients that order pictures, and send again what was refused or broke off."""

    stack: Stack
    orders: dict[str, Order] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_client(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.stack.url, timeout=120, trust_env=False) as client:
            count = 0
            while not self.ending.is_set():
                mark = f"chaos-{number}-{count}"
                self.orders[mark] = Order()
                await self._order(client, mark, waits=bool(count % 2))
                count += 1
                await asyncio.sleep(PAUSE_S)

    async def _order(self, client: httpx.AsyncClient, mark: str, *, waits: bool) -> None:
        order = self.orders[mark]
        give_up_at = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up_at:
            try:
                answer = await client.post(
                    "/translate",
                    files={"image": picture(SIDE)},
                    data={"model": MODEL, "wait": "60" if waits else "0"},
                    headers={"Idempotency-Key": mark, "X-Request-Id": mark},
                )
            except httpx.TransportError:
                self.broken += 1
            else:
                if answer.status_code == 200:
                    order.outcome = "answered"
                    return
                if answer.status_code == 202:
                    order.outcome, order.job = "accepted", answer.json()["id"]
                    return
                if answer.status_code == 500:
                    order.outcome = _failure(answer.json())
                    return
                self.refused[answer.status_code] += 1
                order.outcome = f"refused with {answer.status_code} for {GIVE_UP_S:.0f} s ({answer.text[:200]})"
            await asyncio.sleep(RETRY_S)

    def follow_up(self) -> None:
        """See how the jobs ended that nobody waited for."""
        with httpx.Client(base_url=self.stack.url, timeout=120, trust_env=False) as client:
            for order in self.orders.values():
                if order.job is None:
                    continue
                deadline = time.monotonic() + 120
                job = client.get(f"/jobs/{order.job}").json()
                while job.get("status") in ("queued", "running") and time.monotonic() < deadline:
                    time.sleep(0.2)
                    job = client.get(f"/jobs/{order.job}").json()
                status = job.get("status", "lost")
                order.outcome = _failure(job) if status == "failed" else str(status)
                if order.outcome == "succeeded" and client.get(f"/jobs/{order.job}/image").status_code != 200:
                    order.outcome = "without a picture"


def chaos(rounds: str = str(ROUNDS), seed: str = str(SEED)) -> None:
    """Each disturbance ``rounds`` times; what became of the requests, and how long each role took to recover."""
    with _small_disk() as place, tempfile.TemporaryDirectory() as folder:
        data_dir = place or Path(folder)
        add_dataset(data_dir)
        with serving(data_dir, disk_reserved_mb=64) as stack:
            load, recoveries, trained = asyncio.run(_disturbed(stack, int(rounds), int(seed), small_disk=bool(place)))
            load.follow_up()
            computed = _computed(stack.log)
    outcomes = Counter(order.outcome for order in load.orders.values())
    shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    again = sum(count > 1 for mark, count in computed.items() if mark in load.orders)
    unseen = sum(
        mark not in computed for mark, order in load.orders.items() if order.outcome in ("answered", "succeeded")
    )
    print(
        f"{len(load.orders)} requests, seed {seed}: {shown}; {load.broken} connections broke, refused and sent again: "
        f"{dict(load.refused)}. Computed more than once: {again}, never: {unseen}."
    )
    print(trained)
    print("| disturbance | times | median recovery, s | worst, s | target, s |\n| --- | ---: | ---: | ---: | ---: |")
    for kind, seconds in sorted(recoveries.items()):
        target = TARGET_S.get(kind, "")
        print(f"| {kind} | {len(seconds)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | {target} |")


async def _disturbed(
    stack: Stack, rounds: int, seed: int, *, small_disk: bool
) -> tuple[Load, dict[str, list[float]], str]:
    load = Load(stack)
    # Those that load torch are there later than the service is ready, and would be taken for recovered ones.
    await asyncio.to_thread(_until, lambda: len(_names(stack, "preparer")) == len(PREPARER_JOBS))
    run = await asyncio.to_thread(_start_training, stack)
    clients = [asyncio.create_task(load.run_client(number)) for number in range(CLIENTS)]
    kinds = [f"kill {role}" for role in KILLED] + [f"stop {role}" for role in STOPPED_S] + ["fill redis"]
    if small_disk:
        kinds.append("fill disk")
    else:
        print("The disk is not filled: that takes the right to mount a small one (run as root).")
    order = rounds * kinds
    random.Random(seed).shuffle(order)
    recoveries: dict[str, list[float]] = defaultdict(list)
    for kind in order:
        await asyncio.sleep(CALM_S)
        recoveries[kind].append(await asyncio.to_thread(_disturb, stack, kind))
        print(f"{kind}: {recoveries[kind][-1]:.2f} s", flush=True)
    await asyncio.sleep(CALM_S)
    load.ending.set()
    await asyncio.gather(*clients)
    return load, recoveries, await asyncio.to_thread(_training_result, stack, run)


def _disturb(stack: Stack, kind: str) -> float:
    """Carry one disturbance out; the seconds from its end to the service being whole again."""
    action, _, what = kind.partition(" ")
    if what in ("trainer", "preparer"):
        known = _names(stack, what)
        _signal(_processes(stack, what)[:1], signal.SIGKILL)
        return _until(lambda: bool(_names(stack, what) - known))
    if action == "kill":
        _signal(_processes(stack, what), signal.SIGKILL)
    elif action == "stop":
        pids = _processes(stack, what)
        _signal(pids, signal.SIGSTOP)
        time.sleep(STOPPED_S[what])
        _signal(pids, signal.SIGCONT)
    elif what == "redis":
        with stack.redis() as client:
            client.config_set("maxmemory", "1mb")
            time.sleep(FULL_S)
            client.config_set("maxmemory", f"{MAX_MEMORY_MB}mb")
    else:
        _fill_disk(stack.data_dir)
    return _until(lambda: _translates(stack))


def _until(look: Callable[[], bool]) -> float:
    begun = time.monotonic()
    while not look():
        if time.monotonic() - begun > RECOVERED_WITHIN_S:
            return float("inf")
        time.sleep(0.02)
    return time.monotonic() - begun


def _failure(job: dict[str, Any]) -> str:
    error = job.get("error") or {}
    return f"failed visibly ({error.get('detail') or job.get('detail')})"


def _processes(stack: Stack, role: str) -> list[int]:
    """All processes of a role: several APIs share a socket, so that while one is away, the others answer."""
    pids = [pid for name, own in stack.pids().items() if name.split()[0] == role for pid in own]
    assert pids, f"the {role} does not run"
    return pids


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def _translates(stack: Stack) -> bool:
    """Whether a picture that is ordered now is answered."""
    with contextlib.suppress(httpx.TransportError):
        data = {"model": MODEL, "wait": "30"}
        files = {"image": picture(SIDE)}
        answer = httpx.post(f"{stack.url}/translate", files=files, data=data, timeout=30, trust_env=False)
        return answer.status_code == 200
    return False


def _names(stack: Stack, role: str) -> set[str]:
    """The trainers or preparers that have reported themselves, and run."""
    with contextlib.suppress(redis.RedisError), stack.redis() as client:
        names = {name.decode() for name in client.hkeys(f"doppel:{role}s")}
        return {name for name in names if Path(f"/proc/{name.rpartition('-')[2]}/stat").exists()}
    return set()


def _fill_disk(data_dir: Path) -> None:
    filler = data_dir / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    time.sleep(FULL_S)
    filler.unlink()


@contextmanager
def _small_disk() -> Iterator[Path | None]:
    """A folder on a file system of its own; None without the right to mount one."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "doppel-chaos", folder]
        if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def _start_training(stack: Stack) -> str:
    """Begin a small run that ends with the measurement; its address."""
    options = cyclegan(epochs=1_000_000, save_every=5, sample_every=100_000)
    with httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client:
        deadline = time.monotonic() + 60
        while (answer := client.post("/training/cyclegan", json=options)).status_code != 202:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.5)
        return str(answer.json()["links"]["self"])


def _training_result(stack: Stack, run: str) -> str:
    with httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client:
        client.post(f"{run}/stop")
        deadline = time.monotonic() + 60
        while (state := client.get(run).json())["status"] in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(0.2)
        lines = client.get(f"{run}/metrics", params={"points": 0, "format": "csv"}).text.splitlines()[1:]
    steps = [int(line.partition(",")[0]) for line in lines]
    twice, gaps = len(steps) - len(set(steps)), (max(steps, default=0) - len(set(steps)))
    why = f" ({state['error']})" if state.get("error") else ""
    recorded = f"{twice} steps recorded twice, {gaps} not at all"
    return f"The training: {state['status']}{why} at step {state['step']}; {recorded}."


def _computed(log: Path) -> Counter[str]:
    """How often the worker has computed each request's picture."""
    counted: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("logger") == "doppel.worker" and " in " in entry["message"]:
                counted.update([entry["request_id"]] if "request_id" in entry else entry.get("request_ids", []))
    return counted
