"""Ten times as many requests as can be done: what is promised is kept, the rest is refused at once, and memory stays.

``python -m bench overload [--seconds 120] [--times 10] [--wait 3] [--side 256] [--fake-ms 40]``
"""

import argparse
import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from bench.load import Answer, measure_for, percentile, press, translate_request
from bench.recovery import MODEL
from bench.service import picture
from bench.stack import Stack, computing

CAPACITY_S = 6.0  # of a load that just keeps the worker busy, to learn the capacity
CLIENTS = 4
AFTER_S = 15.0  # in which it has to be as before
NORMAL = 1.5  # times the p95 of an unloaded server, within which an answer is as usual
ROLES = ("api", "worker", "redis")


@dataclass
class Memory:
    """Resident memory of all processes of each role, in MB, from the start to the end of a block."""

    stack: Stack
    first: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        pids = self.stack.pids()
        for role in ROLES:
            with contextlib.suppress(psutil.NoSuchProcess):  # one has just ended
                if own := pids.get(role):
                    self.last[role] = sum(psutil.Process(pid).memory_info().rss for pid in own) / 1e6
                    self.most[role] = max(self.most.get(role, 0.0), self.last[role])
        self.first = self.first or dict(self.last)


def overload(*arguments: str) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench overload")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--times", type=float, default=10, help="the capacity")
    parser.add_argument("--wait", type=float, default=3, help="of each request, in seconds")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument(
        "--fake-ms", type=float, help="a model that only sleeps for so long, in place of one that takes all cores"
    )
    options = parser.parse_args(arguments)
    request = translate_request(picture(options.side), {"model": MODEL, "wait": f"{options.wait:g}"}, "image/jpeg")
    with computing(options.fake_ms) as stack:
        port = stack.port
        asyncio.run(measure_for(port, request, 1, 2))  # the first pictures take longer
        alone = asyncio.run(measure_for(port, request, 1, CAPACITY_S))
        busy = asyncio.run(measure_for(port, request, CLIENTS, CAPACITY_S))
        capacity = len(busy) / CAPACITY_S
        usual_ms = percentile([answer.latency_ms for answer in alone], 95)
        memory = Memory(stack)
        with _Watched(memory.look):
            began = time.thread_time()
            answers, unanswered, ended_s, after = asyncio.run(
                _pressed(port, request, options.times * capacity, options.seconds)
            )
            cpu_s = time.thread_time() - began  # that of the watching thread is not the generator's
    asked = len(answers) + unanswered + len(after)
    done = [answer for answer in after if answer.status == 200]
    normal_s = next((one.at_s - ended_s for one in done if one.latency_ms <= NORMAL * usual_ms), None)
    slowest_after_ms = max((one.latency_ms for one in done if one.at_s - ended_s > 5), default=0.0)
    _print(options, capacity, usual_ms, answers, unanswered)
    print(f"| first usual answer after the end, s (goal 5) | {'none' if normal_s is None else f'{normal_s:.1f}'} |")
    print(f"| slowest answer from 5 s after the end on, ms | {slowest_after_ms:.0f} |")
    for role in memory.first:
        shown = f"{memory.first[role]:.0f} / {memory.most[role]:.0f} / {memory.last[role]:.0f}"
        print(f"| {role}: resident MB at the start / most / at the end | {shown} |")
    print(f"| CPU time of the load generator | {1000 * cpu_s / asked:.2f} ms a request |")


async def _pressed(
    port: int, request: bytes, rate: float, seconds: float
) -> tuple[list[Answer], int, float, list[Answer]]:
    """The load, and from its end on one client that sends a picture at a time."""
    load = asyncio.create_task(press(port, request, rate, seconds))
    await asyncio.sleep(seconds)
    ended_s = time.perf_counter()
    after = await measure_for(port, request, 1, AFTER_S)
    answers, unanswered = await load
    return answers, unanswered, ended_s, after


def _print(
    options: argparse.Namespace, capacity: float, usual_ms: float, answers: list[Answer], unanswered: int
) -> None:
    done = [answer.latency_ms for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    late = sum(answer.status == 202 for answer in answers)
    others = len(answers) - len(done) - len(refused) - late
    print(
        f"{options.times:g} × the capacity of {capacity:.1f} pictures/s ({MODEL}, {options.side} px) for "
        f"{options.seconds:g} s, wait {options.wait:g} s; unloaded p95 {usual_ms:.0f} ms\n\n| | |\n| --- | ---: |"
    )
    print(f"| requests | {len(answers) + unanswered} |")
    print(f"| answered with a picture | {len(done)}, {len(done) / options.seconds:.1f}/s |")
    print(f"| … p50 / p99, ms (goal: p99 below the wait) | {_percentiles(done)} |")
    print(f"| taken, but not done within the wait (202) | {late} |")
    print(f"| refused (503) | {len(refused)} |")
    print(f"| … p50 / p99, ms (goal: p99 100) | {_percentiles([answer.latency_ms for answer in refused])} |")
    told = [answer.retry_after_s for answer in refused if answer.retry_after_s is not None]
    print(f"| … `Retry-After`, s: p50 / most | {percentile(told, 50):g} / {max(told):g} |" if told else "| none |  |")
    print(f"| other answers, no answer | {others}, {unanswered} |")


def _percentiles(values_ms: list[float]) -> str:
    return f"{percentile(values_ms, 50):.0f} / {percentile(values_ms, 99):.0f}" if values_ms else "–"


class _Watched:
    """Look every half second while the block runs."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._look()
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            self._look()
