"""A load generator that costs little: keep-alive connections that send one prepared request over and over.

It takes some 0.2 ms of CPU a request, of which a refusal takes the API 1.5 ms and a picture more.
"""

import asyncio
import time
from dataclasses import dataclass

BOUNDARY = "doppel-bench"
CRLF = "\r\n"


def translate_request(
    picture: bytes, fields: dict[str, str], accept: str, path: str = "/translate", *, key: str | None = None
) -> bytes:
    """POST /translate, or another call that takes ``image``, as bytes, ready to send.

    Args:
        key: the secret of an API key.
    """
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    head = "".join(parts) + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Length: {len(body)}\r\n"
        f"{f'Authorization: Bearer {key}{CRLF}' if key else ''}"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    return headers.encode() + body


@dataclass(frozen=True)
class Answer:
    status: int
    latency_ms: float
    at_s: float  # when it was complete, by time.perf_counter()
    stages_ms: dict[str, float]  # from Server-Timing
    retry_after_s: float | None = None  # of one that was refused


async def measure(port: int, request: bytes, clients: int, requests: int) -> tuple[list[Answer], float]:
    """Send ``requests`` in all over ``clients`` connections; the answers, and the seconds it took."""
    left = iter(range(requests))
    answers: list[Answer] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            answers.append(await _ask(reader, writer, request))
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return answers, time.perf_counter() - started


async def measure_for(port: int, request: bytes, clients: int, seconds: float) -> list[Answer]:
    """Send as many as get through over ``clients`` connections in this time."""
    end = time.perf_counter() + seconds
    answers: list[Answer] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            answers.append(await _ask(reader, writer, request))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def press(port: int, request: bytes, rate: float, seconds: float) -> tuple[list[Answer], int]:
    """Send ``rate`` requests a second, whether or not those before are answered, over as many connections as it takes.

    Returns:
        The answers, once all have come, and how many requests got none.
    """
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    answers: list[Answer] = []
    unanswered = 0

    async def send() -> None:
        nonlocal unanswered
        try:
            while idle:
                reader, writer = idle.pop()
                if not reader.at_eof():  # the server ends what is idle for seconds
                    break
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers.append(await _ask(reader, writer, request))
            idle.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            unanswered += 1

    began = time.perf_counter()
    sending = []
    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        sending.append(asyncio.create_task(send()))
    await asyncio.gather(*sending)
    for _, writer in idle:
        writer.close()
    return answers, unanswered


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    started = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if line)
    await reader.readexactly(int(headers["content-length"]))
    at_s = time.perf_counter()
    retry_after = headers.get("retry-after")
    return Answer(
        int(head.split()[1]),
        (at_s - started) * 1000,
        at_s,
        _stages(headers.get("server-timing", "")),
        None if retry_after is None else float(retry_after),
    )


def _stages(server_timing: str) -> dict[str, float]:
    entries = (entry.partition(";dur=") for entry in server_timing.split(", ") if entry)
    return {name: float(duration) for name, _, duration in entries}


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
