"""A load generator that costs little: keep-alive connections that send one prepared request over and over."""

import asyncio
import time
from dataclasses import dataclass

BOUNDARY = "doppel-bench"


def translate_request(picture: bytes, fields: dict[str, str], accept: str, path: str = "/translate") -> bytes:
    """POST /translate, or another call that takes ``image``, as bytes, ready to send."""
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    head = "".join(parts) + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return headers.encode() + body


@dataclass(frozen=True)
class Answer:
    status: int
    latency_ms: float
    at_s: float  # when it was complete, by time.perf_counter()
    stages_ms: dict[str, float]  # from Server-Timing


async def measure(port: int, request: bytes, clients: int, requests: int) -> tuple[list[Answer], float]:
    """Send ``requests`` in all over ``clients`` connections; the answers, and the seconds it took."""
    left = iter(range(requests))
    answers: list[Answer] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
            await reader.readexactly(int(headers["content-length"]))
            at_s = time.perf_counter()
            latency_ms = (at_s - started) * 1000
            answers.append(Answer(int(head.split()[1]), latency_ms, at_s, _stages(headers.get("server-timing", ""))))
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return answers, time.perf_counter() - started


def _stages(server_timing: str) -> dict[str, float]:
    entries = (entry.partition(";dur=") for entry in server_timing.split(", ") if entry)
    return {name: float(duration) for name, _, duration in entries}


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
