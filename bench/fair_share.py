"""A greedy client beside polite ones: how long the polite wait, if all share one key, and if each has its own.

``python -m bench fair-share [--fake-ms 40]``
"""

import argparse
import asyncio
import hashlib
import itertools
import time
from collections.abc import Iterable, Sequence

from bench.load import Answer, measure_for, percentile, translate_request
from bench.recovery import MODEL
from bench.service import picture
from bench.stack import computing

POLITE = 3  # clients that send a picture at a time
GREEDY = 64  # requests that the greedy client keeps in flight
SECONDS = 15.0
SIDE = 192  # px
SHARED, *OWN = ("shared", "greedy", *(f"polite{number}" for number in range(POLITE)))


def fair_share(*arguments: str) -> None:
    """Print the latencies of the polite clients, and the throughput of all."""
    parser = argparse.ArgumentParser(prog="python -m bench fair-share")
    parser.add_argument("--fake-ms", type=float, help="as of overload")
    fake_ms = parser.parse_args(arguments).fake_ms
    image = picture(SIDE)
    requests = {
        name: translate_request(image, {"model": MODEL, "wait": "60"}, "image/jpeg", key=name)
        for name in (SHARED, *OWN)
    }
    keys = ";".join(f"{name} sha256:{hashlib.sha256(name.encode()).hexdigest()} scopes=translate" for name in requests)
    greedy, *polite = (requests[name] for name in OWN)
    rows: list[tuple[str, bytes | None, Sequence[bytes]]] = [
        ("polite clients alone", None, polite),
        ("and a greedy one, all with one key", requests[SHARED], [requests[SHARED]] * POLITE),
        ("and a greedy one, each with its own key", greedy, polite),
    ]
    print(
        f"{POLITE} clients with a picture at a time, and one that keeps {GREEDY} in flight ({MODEL}, {SIDE} px)\n\n"
        "| | polite: p50 / p95, ms | polite, /s | greedy, /s |\n| --- | ---: | ---: | ---: |"
    )
    with computing(fake_ms, api_keys=keys) as stack:
        asyncio.run(measure_for(stack.port, greedy, 1, 2))  # the first pictures take longer
        for name, at_greedy, at_polite in rows:
            of_polite, of_greedy = asyncio.run(_together(stack.port, at_greedy, at_polite))
            done_ms = [answer.latency_ms for answer in of_polite]
            shown = f"{percentile(done_ms, 50):.0f} / {percentile(done_ms, 95):.0f}" if done_ms else "none was answered"
            print(f"| {name} | {shown} | {len(done_ms) / SECONDS:.1f} | {len(of_greedy) / SECONDS:.1f} |")


async def _together(port: int, greedy: bytes | None, polite: Sequence[bytes]) -> tuple[list[Answer], list[Answer]]:
    """The pictures that the polite clients and the greedy one got while all of them sent requests."""
    load = asyncio.create_task(measure_for(port, greedy, GREEDY, SECONDS + 1)) if greedy else None
    await asyncio.sleep(1)
    began_s = time.perf_counter()
    answers = await asyncio.gather(*(measure_for(port, request, 1, SECONDS) for request in polite))
    of_greedy = await load if load else []

    def counted(answers: Iterable[Answer]) -> list[Answer]:
        return [one for one in answers if one.status == 200 and began_s <= one.at_s < began_s + SECONDS]

    return counted(itertools.chain(*answers)), counted(of_greedy)
