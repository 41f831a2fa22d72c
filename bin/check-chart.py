"""What bin/check-chart runs: ``check-chart.py CHART``. Exits with 1 if something is wrong with it."""

import sys
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml
from helm_python.chart import Chart, lint

KUBERNETES = ("1.27", "1.31", "1.37")
NOT_KUBERNETES_OWN = {"ScaledObject", "TriggerAuthentication", "ScrapeConfig"}  # of KEDA and of the Prometheus operator
OPEN = {"apiKeys": {"allowAnonymous": True}}
FORMS = {
    "without keys": OPEN,
    "with keys, an ingress, KEDA, metrics and traces": {
        "apiKeys": {"existingSecret": "keys"},
        "ingress": {"enabled": True, "className": "nginx", "hosts": ["pictures.example.org"], "tlsSecret": "tls"},
        "keda": {"enabled": True},
        "metrics": {"scrapeConfig": {"enabled": True, "keySecret": {"name": "monitor"}}},
        "tracing": {"endpoint": "http://collector:4318"},
        "image": {"registry": "registry.example.org", "tag": "main", "pullSecrets": [{"name": "pull"}]},
        "settings": {"OFFLINE": "true"},
    },
    "on GPUs": {
        **OPEN,
        "worker": {
            "gpu": 1,
            "runtimeClassName": "nvidia",
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        },
        "trainer": {"gpu": 2, "nodeSelector": {"gpu": "big"}},
    },
    "with a Redis and a claim of its own": {
        **OPEN,
        "redis": {"enabled": False, "existingSecret": "redis"},
        "keda": {"enabled": True, "redisAddress": "redis.example.org:6379", "redisTls": True},
        "persistence": {"existingClaim": "pictures"},
        "networkPolicy": {"enabled": False},
    },
    "with the address of a Redis": {
        **OPEN,
        "redis": {"enabled": False, "url": "rediss://:word@redis.example.org:6379/0"},
    },
}
REFUSED = {
    "neither keys nor a yes to do without": {},
    "no Redis": {**OPEN, "redis": {"enabled": False}},
    "a value that there is not": {**OPEN, "wokrer": {"replicas": 3}},
    "no worker left by KEDA": {**OPEN, "keda": {"enabled": True, "minReplicas": 0}},
    "KEDA without the address of the Redis elsewhere": {
        **OPEN,
        "redis": {"enabled": False, "url": "redis://redis.example.org"},
        "keda": {"enabled": True},
    },
}


def main(path: Path) -> int:
    problems = [
        f"lint: {message['error']}" for message in lint(path, OPEN, strict=True)["messages"] if message["severity"] > 1
    ]
    with Chart.load(path) as chart:
        for name, values in FORMS.items():
            found = _rendered(chart, values)
            problems += [f"{name}: {problem}" for problem in _problems(found)]
            print(f"{name}: {len(found)} objects")
        for name, values in REFUSED.items():
            try:
                chart.validate_schema(values)
                _rendered(chart, values)
            except helm_python.HelmError as error:
                print(f"{name}: refused: {str(error).splitlines()[-1].strip()[:150]}")
            else:
                problems.append(f"{name}: not refused")
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def _rendered(chart: Chart, values: dict) -> list[dict]:
    files = chart.render(values, name="pictures", namespace="doppel").items()
    texts = [text for file, text in files if file.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def _problems(documents: list[dict]) -> list[str]:
    problems = []
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for version in KUBERNETES if document["kind"] not in NOT_KUBERNETES_OWN else ():
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{name} in Kubernetes {version}: {error.message}")
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    problems += [f"{kind} {name} is there twice" for kind, name in set(names) if names.count((kind, name)) > 1]
    pods = [document["spec"]["template"] for document in documents if document["kind"] in ("Deployment", "StatefulSet")]
    for service in (document for document in documents if document["kind"] == "Service"):
        wanted = service["spec"]["selector"].items()
        if sum(wanted <= pod["metadata"]["labels"].items() for pod in pods) != 1:
            problems.append(f"the service {service['metadata']['name']} has not the pods of one role")
    return problems


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
