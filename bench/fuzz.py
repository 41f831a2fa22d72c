"""Generated requests, mutated pictures and hostile records against the whole service; anything but an answer fails.

``python -m bench fuzz --seconds 600 --pictures 20000 --records 2000 --seed 7``; without options it takes four minutes.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

from bench.stack import serving
from tests.fuzz.calls import Things, call
from tests.fuzz.pictures import mutant
from tests.fuzz.records import put, put_result
from tests.processes import children, eventually
from tests.training import add_dataset
from worker.inference_queue import rq_queue

MODELS = ["style_monet-lite", "monet2photo-lite", "stargan-monet-lite", "style-by-example"]
PICTURE_STATUSES = (200, 202, 422, 503)
RECORD_STATUSES = (200, 204, 404, 406, 409, 410, 503)
SLOW_S = 10.0  # an answer that takes longer is reported


@dataclass(frozen=True)
class Service:
    """``doppel serve`` with the weights that ship."""

    pid: int
    client: httpx.Client
    redis: redis.Redis

    def roles(self) -> dict[int, str]:
        """Its processes that are to live for as long as it does."""
        return {pid: line for pid, line in children(self.pid).items() if "doppel" in line or "app.cli" in line}


@contextmanager
def service() -> Iterator[Service]:
    """Start it, with a data set."""
    with tempfile.TemporaryDirectory() as folder:
        add_dataset(Path(folder))
        with (
            serving(Path(folder)) as stack,
            httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client,
            stack.redis() as connection,
        ):
            yield Service(stack.supervisor, client, connection)


def fuzz(*options: str) -> None:
    """All three, one after the other; the exit status is 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m bench fuzz", description=fuzz.__doc__)
    parser.add_argument("--seconds", type=int, default=150, help="of generated requests")
    parser.add_argument("--examples", type=int, default=20, help="of each operation and phase")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--seed", type=int, default=14)
    chosen = parser.parse_args(options)
    faults: Counter[str] = Counter()
    with service() as running:
        before = running.roles()
        faults += pictures(running, chosen.pictures, random.Random(chosen.seed))
        faults += records(running, chosen.records, random.Random(chosen.seed))
        tally = call(
            running.client,
            Things(models=MODELS, datasets=["colors"]),
            seed=chosen.seed,
            examples=chosen.examples,
            max_time_s=chosen.seconds,
        )
        print(f"requests: {tally.calls:,} to {len(tally.operations)} operations, {_shown(tally.statuses)}")
        faults += tally.faults
        dead = [line for pid, line in before.items() if pid not in running.roles()]
    print(f"processes that died: {', '.join(dead) or 'none'}; kinds of faults: {len(faults)}")
    for fault, count in faults.most_common():
        print(f"  {count} × {fault}")
    if faults or dead:
        sys.exit(1)


def pictures(running: Service, count: int, rng: random.Random) -> Counter[str]:
    """Send mutated pictures to be translated or verified; what was wrong with the answers."""
    statuses: Counter[int] = Counter()
    faults: Counter[str] = Counter()
    slowest_s = 0.0
    for n in range(count):
        data = mutant(rng)
        path, fields = ("/verify", {}) if n % 3 == 0 else ("/translate", {"model": MODELS[0], "resolution": "64"})
        if path == "/translate":
            fields["wait"] = str(n % 2)
        started = time.perf_counter()
        answer = running.client.post(path, files={"image": ("a", data)}, data=fields)
        slowest_s = max(slowest_s, time.perf_counter() - started)
        statuses[answer.status_code] += 1
        is_problem = answer.headers["content-type"] == "application/problem+json"
        if answer.status_code not in PICTURE_STATUSES or is_problem != (answer.status_code >= 400):
            faults[f"{path}: {answer.status_code} {answer.text[:300]}"] += 1
    print(f"pictures: {count:,}, {_shown(statuses)}, slowest {slowest_s:.1f} s")
    if slowest_s > SLOW_S:
        faults[f"a picture took {slowest_s:.1f} s"] += 1
    return faults


def records(running: Service, count: int, rng: random.Random) -> Counter[str]:
    """Put hostile records into the queue; jobs that did not end, and what was wrong with answers about them."""
    faults: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    lists = rq_queue(running.redis)
    for n in range(count):
        (put if n % 3 else put_result)(running.redis, f"hostile{n}", rng)
    try:
        eventually(lambda: not running.redis.llen(lists.key) and not running.redis.llen(lists.intermediate_queue_key))
    except AssertionError:
        faults["hostile records are left in the queue"] += 1
    for n in range(count):
        for method, path in (("GET", ""), ("GET", "/image"), ("DELETE", "")):
            answer = running.client.request(method, f"/jobs/hostile{n}{path}")
            statuses[answer.status_code] += 1
            if answer.status_code not in RECORD_STATUSES:
                faults[f"{method} {path} of a hostile record: {answer.status_code} {answer.text[:300]}"] += 1
    print(f"records: {count:,}, calls about them: {_shown(statuses)}")
    return faults


def _shown(statuses: Counter[int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))
