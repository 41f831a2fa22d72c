"""What grows while the service works for a long time: memory of each role, keys in Redis, files, descriptors."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import psutil

from bench.service import picture
from bench.stack import Stack, serving
from tests.archives import unpaired, zipped
from worker.contract import JOB_QUEUES

MINUTES = 30.0
SETTLED_MINUTES = 5.0  # by then caches are full
SAMPLE_EVERY_S = 10.0
CLIENTS = 2
PAUSE_S = 0.3  # of a client between two calls
MODELS = ("style_monet-lite", "monet2photo-lite")
SIDES = (64, 96, 128, 200)  # px
RESULT_TTL_S = 60  # so that what is kept for a time has come to its end within the measurement

Call = Callable[[httpx.AsyncClient, random.Random], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Sample:
    at_min: float
    memory_mb: dict[str, float]  # resident, of all processes of each role
    descriptors: dict[str, int]
    keys: Counter[str]  # by kind
    files: int  # in the data folder, but for Redis'
    spooled: int  # in its folder for temporary files


def soak(minutes: str = str(MINUTES)) -> None:
    """Mixed calls for half an hour, or for the given number of minutes."""
    with serving(result_ttl_s=RESULT_TTL_S) as stack:
        samples, statuses = asyncio.run(_soak(stack, float(minutes)))
    calls = sum(statuses.values())
    shown = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    print(f"{samples[-1].at_min:.0f} minutes, {calls} calls: {shown}")
    settled = [sample for sample in samples if sample.at_min >= min(SETTLED_MINUTES, float(minutes) / 3)]
    first, last = settled[0], settled[-1]
    print("| role | MB at the start | settled | at the end | MB/min since | descriptors settled, at the end |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for role in sorted(first.memory_mb.keys() & last.memory_mb.keys()):
        slope = _slope([(sample.at_min, sample.memory_mb[role]) for sample in settled if role in sample.memory_mb])
        started = samples[0].memory_mb.get(role, float("nan"))
        print(
            f"| {role} | {started:.0f} | {first.memory_mb[role]:.0f} | {last.memory_mb[role]:.0f} | {slope:+.2f} | "
            f"{first.descriptors[role]}, {last.descriptors[role]} |"
        )
    print("Keys in Redis, settled → at the end:")
    for kind in sorted(first.keys | last.keys):
        print(f"  {kind}: {first.keys[kind]} → {last.keys[kind]}")
    print(f"Files: {first.files} → {last.files}; temporary files: {first.spooled} → {last.spooled}")


async def _soak(stack: Stack, minutes: float) -> tuple[list[Sample], Counter[str]]:
    begun = time.monotonic()
    statuses: Counter[str] = Counter()
    samples = []
    ending = asyncio.Event()
    clients = [asyncio.create_task(_client(stack, number, statuses, ending)) for number in range(CLIENTS)]
    while (at_min := (time.monotonic() - begun) / 60) < minutes:
        samples.append(await asyncio.to_thread(_sample, stack, at_min))
        await asyncio.sleep(SAMPLE_EVERY_S)
    ending.set()
    await asyncio.gather(*clients)
    # What is kept for a time is gone after it.
    await asyncio.sleep(RESULT_TTL_S + 5)
    samples.append(await asyncio.to_thread(_sample, stack, (time.monotonic() - begun) / 60))
    return samples, statuses


async def _client(stack: Stack, number: int, statuses: Counter[str], ending: asyncio.Event) -> None:
    rng = random.Random(number)
    async with httpx.AsyncClient(base_url=stack.url, timeout=120, trust_env=False) as client:
        while not ending.is_set():
            call = rng.choice(CALLS)
            try:
                answer = await call(client, rng)
            except httpx.TransportError as error:
                statuses[f"{call.__name__} {type(error).__name__}"] += 1
            else:
                known = answer.status_code < 300 or answer.status_code in (404, 422)
                statuses[str(answer.status_code) if known else f"{answer.status_code} of {call.__name__}"] += 1
            await asyncio.sleep(PAUSE_S)


async def _translated(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    data = {"model": rng.choice(MODELS), "resolution": str(rng.choice(SIDES))}
    headers = {"Accept": rng.choice(("image/png", "image/jpeg", "image/webp"))}
    return await client.post("/translate", files={"image": picture(rng.choice(SIDES))}, data=data, headers=headers)


async def _collected(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    data = {"model": rng.choice(MODELS), "resolution": "64", "wait": "0"}
    job = (await client.post("/translate", files={"image": picture(64)}, data=data)).raise_for_status().json()
    async with client.stream("GET", job["links"]["events"]) as events:
        await events.aread()
    return await client.get(job["links"]["image"])


async def _canceled(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    data = {"model": rng.choice(MODELS), "resolution": "64", "wait": "0"}
    job = (await client.post("/translate", files={"image": picture(64)}, data=data)).raise_for_status().json()
    return await client.delete(job["links"]["self"])


async def _repeated(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    headers = {"Idempotency-Key": f"soak-{rng.random()}"}
    data = {"model": rng.choice(MODELS), "resolution": "64"}
    await client.post("/translate", files={"image": picture(64)}, data=data, headers=headers)
    return await client.post("/translate", files={"image": picture(64)}, data=data, headers=headers)


async def _refused(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    return await client.post("/translate", files={"image": rng.randbytes(2000)}, data={"model": MODELS[0]})


async def _painted(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    files = {"image": picture(rng.choice(SIDES)), "style": picture(rng.choice(SIDES))}
    return await client.post("/style", files=files, data={"resolution": "64"})


async def _verified(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    answer = await client.post("/translate", files={"image": picture(64)}, data={"model": MODELS[0]})
    return await client.post("/verify", files={"image": answer.content})


async def _imported(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    name = f"soak-{rng.getrandbits(48):x}"
    answer = await client.post("/datasets", files={"archive": zipped(unpaired())}, data={"name": name})
    with contextlib.suppress(httpx.HTTPStatusError):
        answer.raise_for_status()
        await client.delete(f"/datasets/{name}")
    return answer


async def _looked(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    paths = ("/models", "/jobs", "/training", "/datasets", "/status", "/metrics", "/healthz", "/openapi.json", "/docs")
    return await client.get(rng.choice(paths))


# Kinds that come twice are more frequent.
CALLS: tuple[Call, ...] = (
    _translated,
    _translated,
    _translated,
    _collected,
    _canceled,
    _repeated,
    _refused,
    _painted,
    _verified,
    _imported,
    _looked,
    _looked,
)


def _sample(stack: Stack, at_min: float) -> Sample:
    memory_mb: dict[str, float] = {}
    descriptors: dict[str, int] = {}
    for role, pids in stack.pids().items():
        with contextlib.suppress(psutil.NoSuchProcess):  # one has just ended
            processes = [psutil.Process(pid) for pid in pids]
            descriptors[role] = sum(process.num_fds() for process in processes)
            memory_mb[role] = sum(process.memory_info().rss for process in processes) / 1e6
    with stack.redis() as redis:
        keys = Counter(_kind(key.decode(errors="replace")) for key in redis.scan_iter(count=1000))
    files = [path for path in stack.data_dir.rglob("*") if path.is_file()]
    spooled = [path for path in files if path.is_relative_to(stack.data_dir / "tmp")]
    own = [path for path in files if not path.is_relative_to(stack.data_dir / "redis")]
    sample = Sample(at_min, memory_mb, descriptors, keys, len(own), len(spooled))
    shown = {role: round(mb) for role, mb in memory_mb.items()}
    print(json.dumps({"minute": round(at_min, 2), "mb": shown, "keys": keys.total(), "files": len(own)}), flush=True)
    return sample


def _kind(key: str) -> str:
    """A key without what tells it from others of its kind."""
    parts = key.split(":")
    return ":".join(part for part in parts if part in JOB_QUEUES or (len(part) < 24 and not part[-1:].isdigit()))


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the line that fits them best."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
