"""What it costs the API to show a run as long as the paper's: monet2photo, 200 epochs of 6,287 steps."""

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from bench.memory import resident_mb
from models.store.samples import to_drop
from tests.processes import ROOT, eventually, free_port, process
from worker.embedded_redis import EmbeddedRedis
from worker.supervisor import role_command

STEPS = 200 * 6287
LOSSES = ("g_ab_adv", "g_ba_adv", "cycle_aba", "cycle_bab", "g_ab_identity", "g_ba_identity", "d_b", "d_a")
SAVE_EVERY = 500
QUALITY_EVERY = 4
RUN = "long"
REPEATS = 5


def calls() -> None:
    """Time of each call, the first and the median of the next ones, its time on a core, and what it adds in memory."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        _write_run(Path(folder) / "runs" / RUN)
        redis_server = EmbeddedRedis(Path(folder) / "redis")
        redis_server.start()
        settings = {"PORT": str(port), "REDIS_URL": redis_server.url, "OFFLINE": "1", "DATA_DIR": folder}
        env = os.environ | {f"DOPPEL_{name}": value for name, value in settings.items()}
        with (
            process(*role_command("api"), env=env) as api,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False) as client,
        ):
            eventually(lambda: _alive(client), within_s=60)
            print(f"A run of {STEPS:,} steps:")
            for path in (
                f"/training/{RUN}",
                "/training",
                f"/training/{RUN}/metrics",
                f"/training/{RUN}/metrics?format=csv",
                f"/training/{RUN}/metrics?after_step={STEPS - 1000}",
                f"/training/{RUN}/metrics?points=0&after_step=600000",
                f"/training/{RUN}/curves.png",
                f"/training/{RUN}/events",
            ):
                _measure(path, lambda path=path: client.get(path).raise_for_status(), api.pid)  # type: ignore[misc]
        redis_server.stop()


def _alive(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def _measure(path: str, call: Callable[[], httpx.Response], pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the largest it ever was
    before_mb = resident_mb(pid)
    busy_s = _busy_s(pid)
    spent = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        answer = call()
        spent.append(time.perf_counter() - started)
    grown_mb = resident_mb(pid) - before_mb
    core_s = (_busy_s(pid) - busy_s) / len(spent)
    print(
        f"  GET {path}: first {spent[0]:.3f} s, then {statistics.median(spent[1:]):.3f} s ({core_s:.3f} s of a core), "
        f"{grown_mb:+.0f} MB (answer {len(answer.content) / 1e3:,.0f} kB)"
    )


def _busy_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _write_run(folder: Path) -> None:
    """A run as its training would have left it, stopped one step before its end."""
    (folder / "samples").mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps({"dataset": str(ROOT / "none"), "family": "cyclegan"}))
    rng = random.Random(0)
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, STEPS):
            losses = {name: rng.random() * 3 for name in LOSSES}
            file.write(json.dumps({"step": step, "seconds": round(step * 0.2, 3), **losses}) + "\n")
    reason = (
        "the weights of the network are not in the cache of the trainer (weights-inception-2015-12-05-6726825d.pth)"
    )
    moment = datetime.now(UTC).isoformat()
    status = {
        "status": "stopped",
        "dataset": "monet2photo",
        "family": "cyclegan",
        "created_at": moment,
        "updated_at": moment,
        "step": STEPS - 1,
        "total_steps": STEPS,
        "losses": dict.fromkeys(LOSSES, 1.0),
        "quality": [
            {
                "step": step,
                "figures": {"cycle error": 0.1, "cycle error of A": 0.1, "cycle error of B": 0.1},
                "not_available": {"FID": reason, "KID": reason, "cycle LPIPS": reason},
            }
            for step in range(SAVE_EVERY * QUALITY_EVERY, STEPS, SAVE_EVERY * QUALITY_EVERY)
        ],
    }
    (folder / "status.json").write_text(json.dumps(status))
    steps = list(range(SAVE_EVERY, STEPS, SAVE_EVERY))
    for step in sorted({*steps} - {*to_drop(steps, SAVE_EVERY)}):
        (folder / "samples" / f"{step:06d}.png").touch()
        (folder / "samples" / f"{step:06d}.json").touch()
