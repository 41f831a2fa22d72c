"""``make bench [ONLY=name]``: every measurement, or one of them."""

import sys
from collections.abc import Callable

from bench import (
    codecs,
    inference,
    long_run,
    memory,
    official,
    peers,
    recovery,
    service,
    start,
    tiles,
    training,
    translate,
)

MEASUREMENTS: dict[str, Callable[[], None]] = {
    "peers": peers.table,
    "throughput": service.throughput,
    "mixed": service.mixed,
    "latency": service.latency,
    "engines": inference.engines,
    "memory": memory.residency,
    "codecs": codecs.encoding,
    "translate": translate.folder,
    "first-picture": start.first_picture,
    "two-workers": start.two_workers,
    "large-pictures": tiles.large_pictures,
    "official-faces": official.faces,
    "training-steps": training.steps,
    "beside-training": training.beside_training,
    "long-run": long_run.calls,
    "worker-deaths": recovery.worker_deaths,
    "redis-deaths": recovery.redis_deaths,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()
