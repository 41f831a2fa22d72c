"""What hostile clients do to the whole service, by the promises of docs/operations.md: measured, and whether held."""

import contextlib
import errno
import random
import resource
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
import numpy as np
import psutil
from PIL import Image
from rq.job import Job

from app.connections import Bounds
from bench.fuzz import MODELS, Service, service
from bench.service import picture
from tests.archives import zipped
from tests.fuzz.pictures import scans
from tests.pictures import encoded
from tests.processes import eventually
from worker.inference_queue import rq_queue

MB = 1 << 20
LARGE = (16383, 3051)  # px
LARGE_PICTURES = 45
GROWN_MB = 50  # by which the memory of the API may grow
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
JOB = {"model": MODELS[0], "resolution": "64"}


class Finding(NamedTuple):
    measured: str
    held: bool


@dataclass
class Others:
    """How long other clients wait while something goes on."""

    healthz_s: list[float] = field(default_factory=list)
    picture_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        parts = [f"others' /healthz ≤ {max(self.healthz_s, default=0):.2f} s"]
        if self.picture_s:
            parts.append(f"picture median {statistics.median(self.picture_s):.2f}, ≤ {max(self.picture_s):.2f} s")
        return ", ".join([*parts, *(f"{count} × {what}" for what, count in self.failures.items())])

    def fine(self, healthz_s: float = 1.0, picture_s: float = 5.0) -> bool:
        slowest = max(self.healthz_s, default=0) <= healthz_s and max(self.picture_s, default=0) <= picture_s
        return slowest and not self.failures


@contextlib.contextmanager
def watched(running: Service, *, with_pictures: bool = True) -> Iterator[Others]:
    """Ask for /healthz and a small picture over and over, as another client."""
    others, stop = Others(), threading.Event()

    def ask(times: list[float], call: Callable[[httpx.Client], httpx.Response]) -> None:
        with httpx.Client(base_url=running.client.base_url, timeout=60, trust_env=False) as client:
            while not stop.wait(0.05):
                started = time.perf_counter()
                try:
                    status = call(client).status_code
                    if status != 200:
                        others.failures[str(status)] += 1
                except httpx.TransportError as error:
                    others.failures[type(error).__name__] += 1
                times.append(time.perf_counter() - started)

    photo = picture()
    calls = [(others.healthz_s, lambda client: client.get("/healthz"))]
    if with_pictures:
        calls.append((others.picture_s, lambda client: client.post("/translate", files={"image": photo}, data=JOB)))
    threads = [threading.Thread(target=ask, args=call) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield others
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def api_mb(running: Service) -> int:
    """Resident memory of the API."""
    pids = [pid for pid, line in running.roles().items() if " api" in line]
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) // MB


def connect(running: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.client.base_url.port or 80), timeout=60)


def sent(running: Service, parts: Sequence[bytes]) -> bytes:
    """Send on one connection for as long as the server takes it; the first bytes of its answer."""
    with connect(running) as connection:
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
        with contextlib.suppress(OSError):
            return connection.recv(4096)
    return b""


def endless_header(running: Service) -> Finding:
    before = api_mb(running)
    with watched(running) as others:
        one = sent(running, [HEAD + b"X-A: ", *[b"a" * MB] * 108])
        many = sent(running, [HEAD, *[b"".join(b"X-%d: a\r\n" % n for n in range(90_000))] * 300])
    grown = api_mb(running) - before
    statuses = [answer[9:12].decode() or "reset" for answer in (one, many)]
    measured = f"{' and '.join(statuses)}; {others}; memory {grown:+} MB"
    return Finding(measured, set(statuses) <= {"431", "reset"} and others.fine() and grown < GROWN_MB)


def many_scans(running: Service) -> Finding:
    bomb = scans(1500, *LARGE)
    with watched(running) as others, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _post(running, bomb), range(6)))
    archive = zipped({"trainA/z.jpg": bomb, "trainB/a.png": picture()})
    started = time.perf_counter()
    imported = running.client.post("/datasets", files={"archive": archive}, data={"name": "bombs", "wait": "60"})
    took = time.perf_counter() - started
    measured = f"{_counted(answers)}; {others}; a data set with one: {imported.status_code} after {took:.1f} s"
    return Finding(measured, {one.status_code for one in answers} == {422} and others.fine() and took < 10)


def silent_connections(running: Service) -> Finding:
    wanted = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with contextlib.ExitStack() as stack, watched(running, with_pictures=False) as others:
        silent = [stack.enter_context(connect(running)) for _ in range(wanted)]
        heads = [stack.enter_context(connect(running)) for _ in range(100)]
        bodies = [stack.enter_context(connect(running)) for _ in range(100)]
        for one in heads:
            with contextlib.suppress(OSError):
                one.sendall(HEAD)
        for one in bodies:
            with contextlib.suppress(OSError):
                one.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nx")
        started = time.perf_counter()
        closed = Counter(_ended(one, within_s=60) for one in (*silent, *heads, *bodies))
        took = time.perf_counter() - started
    measured = f"{wanted + 200} opened, {closed['still open']} still open after {took:.0f} s; {others}"
    return Finding(measured, not closed["still open"] and others.fine())


def _ended(connection: socket.socket, *, within_s: float) -> str:
    connection.settimeout(within_s)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return "still open"
    except OSError:
        pass
    return "closed"


def many_keys(running: Service) -> Finding:
    body = "{" + ",".join(f'"k{n}":1' for n in range(1_000_000)) + "}"
    with watched(running) as others:
        answer = running.client.post("/training/cyclegan", content=body, headers={"Content-Type": "application/json"})
    measured = f"{answer.status_code}, {len(answer.content):,} bytes; {others}"
    return Finding(measured, answer.status_code == 413 and others.fine())


def unread_documents(running: Service) -> Finding:
    with contextlib.ExitStack() as stack, watched(running) as others:
        connections = [stack.enter_context(connect(running)) for _ in range(50)]
        for one in connections:  # more than the system's buffers hold
            one.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        time.sleep(Bounds().answer_s + 10)
        errors = [one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for one in connections]
    were_reset = errors.count(errno.ECONNRESET)
    measured = f"{were_reset} of {len(connections)} connections reset; {others}"
    return Finding(measured, were_reset == len(connections) and others.fine())


def other_sites(running: Service) -> Finding:
    client = running.client
    statuses = [
        client.get("/training", headers={"Host": "evil.example"}).status_code,
        client.delete("/datasets/colors", headers={"Sec-Fetch-Site": "cross-site"}).status_code,
        client.post("/translate", files={"image": picture()}, headers={"Origin": "https://evil.example"}).status_code,
        client.get("/datasets/", headers={"Host": "evil.example"}).status_code,
    ]
    return Finding(f"statuses {statuses}", statuses == [400, 403, 403, 400])


def malformed_records(running: Service) -> Finding:
    before = {pid for pid, line in running.roles().items() if " worker" in line}
    queue = rq_queue(running.redis)
    for n, (name, value) in enumerate({"created_at": "yesterday", "timeout": "long", "data": b"\xff"}.items()):
        running.redis.hset(Job.key_for(f"x{n}"), mapping={"status": "queued", "origin": queue.name, name: value})
        running.redis.rpush(queue.key, f"x{n}")
    running.redis.set(Job.key_for("string"), "x")
    running.redis.rpush(queue.key, "string", b"\xff\xfe")
    started = time.perf_counter()
    status = _post(running, picture()).status_code
    took = time.perf_counter() - started
    alive = before == {pid for pid, line in running.roles().items() if " worker" in line}
    return Finding(
        f"next picture {status} after {took:.1f} s, worker {'lives' if alive else 'died'}", alive and status == 200
    )


def overload(running: Service) -> Finding:
    wait_s, clients, seconds = 3.0, 64, 20.0
    photo, times, statuses = picture(), [], Counter()
    for _ in range(32):  # so that the queue knows how fast it moves
        _post(running, photo)
    untold = 0

    def send(_: int) -> None:
        nonlocal untold
        ends_at = time.perf_counter() + seconds
        with httpx.Client(base_url=running.client.base_url, timeout=60, trust_env=False) as client:
            while (started := time.perf_counter()) < ends_at:
                fields = JOB | {"wait": str(wait_s)}
                answer = client.post("/translate", files={"image": photo}, data=fields)
                statuses[answer.status_code] += 1
                untold += answer.status_code == 503 and "retry-after" not in answer.headers
                if answer.status_code == 200:
                    times.append(time.perf_counter() - started)
                time.sleep(0.2 if answer.status_code == 503 else 0)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, range(clients)))
    ordered = sorted(times) or [0.0]
    p99_s = ordered[int(0.99 * (len(ordered) - 1))]
    late = statuses[202] / max(1, statuses[200] + statuses[202])
    measured = f"{_shown(statuses)}; p99 of 200 {p99_s:.1f} s of {wait_s:g} s; {late:.0%} of the accepted late"
    in_time = statuses[200] > 0 and p99_s <= wait_s and late < 0.1
    return Finding(measured, set(statuses) <= {200, 202, 503} and not untold and in_time)


def endless_body(running: Service) -> Finding:
    before = api_mb(running)
    head = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    chunk = b"%x\r\n" % MB + b"a" * MB + b"\r\n"
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    first = b"%x\r\n" % len(form) + form + b"\r\n"
    with watched(running) as others:
        answer = sent(running, [head, first, *[chunk] * 1000])
    grown = api_mb(running) - before
    status = answer[9:12].decode() or "reset"
    held = status in ("413", "reset") and others.fine() and grown < GROWN_MB
    return Finding(f"{status}; {others}; memory {grown:+} MB", held)


def methods(running: Service) -> Finding:
    answer = running.client.options("/jobs/x")
    allow = answer.headers.get("allow", "")
    plain = [name for name in ("server", "x-powered-by") if name in answer.headers]
    safe = answer.headers.get("x-content-type-options") == "nosniff"
    held = {"GET", "DELETE"} <= set(allow.split(", ")) and not plain and safe
    return Finding(f"Allow: {allow}; nosniff {safe}; headers that name the server: {plain or 'none'}", held)


def queued_runs(running: Service) -> Finding:
    statuses: Counter[int] = Counter()
    runs = []
    # Networks so narrow that the disk has room for the checkpoints of all.
    asked = {"dataset": "colors", "epochs": 100_000, "ngf": 4, "ndf": 4, "n_blocks": 1, "keep_checkpoints": 1}
    # Whoever sizes and trains runs may just have been started.
    eventually(lambda: running.client.post("/training/cyclegan?dry_run=true", json=asked).status_code == 200)
    for _ in range(110):
        answer = running.client.post("/training/cyclegan", json=asked)
        statuses[answer.status_code] += 1
        runs += [answer.json()["id"]] if answer.status_code == 202 else []
    started = time.perf_counter()
    listed = running.client.get("/training").status_code
    took = time.perf_counter() - started
    for run in reversed(runs):
        running.client.post(f"/training/{run}/stop?force=true")
    held = statuses[503] > 0 and 0 < statuses[202] <= 101 and listed == 200
    return Finding(f"{_shown(statuses)}; list {listed} in {took:.2f} s", held)


def large_pictures(running: Service) -> Finding:
    pixels = np.zeros((LARGE[1], LARGE[0], 3), np.uint8)
    pixels[::7, ::5] = random.Random(0).randbytes(3)[0]
    data = encoded(Image.fromarray(pixels), compress_level=1)
    del pixels
    _post(running, data)
    before, peak, stop = api_mb(running), 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not stop.wait(0.1):
            peak = max(peak, api_mb(running))

    looking = threading.Thread(target=look)
    looking.start()
    started = time.perf_counter()
    with ThreadPoolExecutor(LARGE_PICTURES) as pool:
        answers = list(pool.map(lambda _: _post(running, data, wait="0", timeout_s=600), range(LARGE_PICTURES)))
    took = time.perf_counter() - started
    stop.set()
    looking.join()
    time.sleep(2)
    kept = api_mb(running) - before
    measured = f"{_counted(answers)} in {took:.0f} s; API {before} MB, at most {peak}, {kept:+} MB afterwards"
    return Finding(measured, {one.status_code for one in answers} == {202} and kept <= 100)


ATTACKS: dict[str, tuple[str, Callable[[Service], Finding]]] = {
    "D1 a header of 108 MB, then 300 MB of headers": ("431 from 32 KiB on", endless_header),
    "D2 six JPEGs of 1,500 scans; one in a data set": ("422 before decoding begins", many_scans),
    "D3 1,400 connections that keep still": ("ended after 10 s (heads), 20 s (bodies)", silent_connections),
    "D4 a JSON object of a million keys": ("413 from 64 KiB on", many_keys),
    "D5 5,000 requests for the OpenAPI document, unread": ("made once; an answer not taken is reset", unread_documents),
    "D7 a foreign Host, Origin and Sec-Fetch-Site": ("400, 403", other_sites),
    "D9 records in Redis that can't be read": ("each fails alone; the worker lives", malformed_records),
    "D14, D21 what headers tell": ("all methods; nosniff; no server's name", methods),
    "D15 a form of 1 GB in chunks": ("413, connection closed", endless_body),
    "D17 45 pictures of 50 megapixels": ("all accepted; memory back within 100 MB", large_pictures),
    "D19 110 training runs": ("503 after 100 that wait", queued_runs),
    "D12 64 clients that wait 3 s": ("taken: answered in time; others 503 with Retry-After", overload),
}


def attacks(*names: str) -> None:
    """Each attack on one service, as a Markdown table.

    Args:
        names: of some of them, by their first word; none: all.
    """
    with service() as running:
        print("| attack | promised | measured | held |\n| --- | --- | --- | --- |")
        for title, (promise, attack) in ATTACKS.items():
            if names and title.split()[0].rstrip(",") not in names:
                continue
            finding = attack(running)
            print(f"| {title} | {promise} | {finding.measured} | {'yes' if finding.held else '**no**'} |", flush=True)


def _post(running: Service, data: bytes, *, wait: str = "60", timeout_s: float = 120) -> httpx.Response:
    url = running.client.base_url.join("/translate")
    return httpx.post(url, files={"image": data}, data=JOB | {"wait": wait}, timeout=timeout_s, trust_env=False)


def _counted(answers: Sequence[httpx.Response]) -> str:
    return _shown(Counter(answer.status_code for answer in answers))


def _shown(statuses: Counter[int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))
