"""``make bench [ONLY=name]``: every measurement, or one of them."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import codecs, inference, long_run, memory, official, recovery, service, tiles, training, translate


def _precision() -> None:
    with tempfile.TemporaryDirectory() as folder:
        inference.precision(Path(folder))


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "throughput": service.throughput,
    "mixed": service.mixed,
    "latency": service.latency,
    "precision": _precision,
    "memory": memory.residency,
    "codecs": codecs.encoding,
    "translate": translate.folder,
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
