"""``make bench [ONLY=name]``: every measurement, or one of them. Some take options: ``python -m bench soak 5``."""

import importlib
import sys

MEASUREMENTS = {  # each is loaded when it is its turn: not every machine has what another one needs
    "peers": "bench.peers:table",
    "throughput": "bench.service:throughput",
    "mixed": "bench.service:mixed",
    "latency": "bench.service:latency",
    "engines": "bench.inference:engines",
    "memory": "bench.memory:residency",
    "styles": "bench.styles:styles",
    "codecs": "bench.codecs:encoding",
    "translate": "bench.translate:folder",
    "first-picture": "bench.start:first_picture",
    "two-workers": "bench.start:two_workers",
    "large-pictures": "bench.tiles:large_pictures",
    "flicker": "bench.flicker:films",
    "pictures": "bench.pictures:pictures",
    "official-faces": "bench.official:faces",
    "training-steps": "bench.training:steps",
    "beside-training": "bench.training:beside_training",
    "long-run": "bench.long_run:calls",
    "studio": "bench.studio:studio",
    "worker-deaths": "bench.recovery:worker_deaths",
    "chaos": "bench.chaos:chaos",
    "soak": "bench.soak:soak",
    "publishing": "bench.publishing:publishing",
    "redis-deaths": "bench.recovery:redis_deaths",
    "overload": "bench.overload:overload",
    "fair-share": "bench.fair_share:fair_share",
    "fuzz": "bench.fuzz:fuzz",
    "attacks": "bench.attacks:attacks",
    "gpu": "bench.gpu:everything",
}


def measure(name: str, *options: str) -> None:
    module, _, function = MEASUREMENTS[name].partition(":")
    getattr(importlib.import_module(module), function)(*options)


if __name__ == "__main__":
    names = sys.argv[1:] or list(MEASUREMENTS)
    if names[0] in MEASUREMENTS and MEASUREMENTS.keys().isdisjoint(names[1:]):
        measure(*names)
    elif unknown := [name for name in names if name not in MEASUREMENTS]:
        sys.exit(f"There is no measurement {', '.join(unknown)}, but {', '.join(MEASUREMENTS)}.")
    else:
        for name in names:
            measure(name)
