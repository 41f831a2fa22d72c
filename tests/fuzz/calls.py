"""Requests that Schemathesis makes of the OpenAPI document, alone and in sequence, most of them with what there is."""

import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import ScenarioRecorder

from tests.fuzz.pictures import mutant, seeds
from tests.training import CYCLEGAN, STARGAN

SOUND = 0.6  # share of the requests that get names, pictures and options that there are
STREAMS = ("read_job_events", "read_run_events")  # Schemathesis holds each event against the schema of the whole
CHECKS = {
    "enabled": False,
    "not_a_server_error": {"enabled": True, "expected-statuses": ["2xx", "3xx", "4xx", "503"]},
    **{
        name: {"enabled": True}
        for name in (
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
            "unsupported_method",
            "allow_header_conformance",
        )
    },
}


@dataclass
class Things:
    """What there is on the server, by the kinds of names that calls take: at first this, then what answers tell."""

    models: list[str]
    datasets: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    comparisons: list[str] = field(default_factory=list)

    def named(self, path: str) -> list[str]:
        """Those that a path takes."""
        for start in ("jobs", "models", "datasets"):
            if path.startswith(f"/{start}/"):
                return list(getattr(self, start))
        return self.comparisons if path.startswith("/training/compare") else self.runs

    def learn(self, path: str, answer: Any) -> None:
        """Take note of what an answer to a POST has made."""
        if not isinstance(answer, dict):
            return
        if path.startswith("/training/"):
            found, made = answer.get("id"), self.comparisons if path.endswith("compare") else self.runs
        elif path == "/datasets" and "kind" not in answer:
            found, made = answer.get("name"), self.datasets
        else:
            found, made = answer.get("id"), self.jobs
        if isinstance(found, str) and found not in made:
            made.append(found)


@dataclass
class Tally:
    """What has come of generated requests."""

    operations: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        return sum(self.statuses.values())

    def add(self, recorder: ScenarioRecorder) -> None:
        for case_id, interaction in recorder.interactions.items():
            if interaction.response is None:
                self.faults[f"{recorder.cases[case_id].value.operation.label}: no answer"] += 1
                continue
            self.operations.add(recorder.cases[case_id].value.operation.label)
            self.statuses[interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    case, failure = recorder.cases[case_id].value, check.failure_info.failure
                    why = f"{failure.title}: {failure.message[:300]}"
                    self.faults[f"{case.operation.label}: {why}\n{check.failure_info.code_sample[:1000]}"] += 1


def call(
    client: httpx.Client,
    things: Things,
    *,
    seed: int,
    examples: int,
    phases: Sequence[str] = ("examples", "coverage", "fuzzing", "stateful"),
    max_time_s: int | None = None,
    share: int = 1,
) -> Tally:
    """Send generated requests to a server, one after the other.

    Args:
        things: that there are at the server.
        examples: of each operation in each phase that draws them.
        phases: of Schemathesis. ``coverage`` has hundreds of requests of each operation.
        max_time_s: None: until each operation had its share.
        share: only one of so many operations is called.
    """
    document = client.get("/openapi.json").json()
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    left_out = [name for n, name in enumerate(names) if (n + seed) % share]
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": str(client.base_url),
            "continue-on-failure": True,
            "request-timeout": 60,
            "max-stream-events": 3,
            "checks": CHECKS,
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
            "operations": [
                {"include-operation-id": list(STREAMS), "checks": {"response_schema_conformance": {"enabled": False}}},
                *([{"include-operation-id": left_out, "enabled": False}] if left_out else []),
            ],
        }
    )
    config.projects.get_default().max_time = max_time_s
    schema = schemathesis.openapi.from_dict(document, config=config)
    tally = Tally()
    with _hooks(things, random.Random(seed)):
        for event in engine.from_schema(schema).execute():
            if isinstance(event, ScenarioFinished):
                tally.add(event.recorder)
            elif isinstance(event, NonFatalError):
                tally.faults[f"{event.label}: {event.info.title}: {event.info.message}"] += 1
    return tally


@contextlib.contextmanager
def _hooks(things: Things, rng: random.Random) -> Iterator[None]:
    """Have Schemathesis put what there is into its requests, for a block."""

    @schemathesis.hook
    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        _make_quick(case, rng)
        if rng.random() < SOUND:
            _make_sound(case, things, rng)

    @schemathesis.hook
    def after_call(context: Any, case: Any, response: Any) -> None:
        if case.method == "POST" and response.status_code in (200, 201, 202):
            with contextlib.suppress(ValueError):
                things.learn(case.operation.path, response.json())

    try:
        yield
    finally:
        schemathesis.hooks.unregister_all()


def _make_quick(case: Any, rng: random.Random) -> None:
    """Have the client wait for no job for long."""
    if isinstance(case.body, dict) and case.media_type == "multipart/form-data" and _is_number(case.body.get("wait")):
        case.body = {**case.body, "wait": rng.choice(("0", "0", "1"))}


def _is_number(sent: Any) -> bool:
    with contextlib.suppress(TypeError, ValueError):
        return sent is None or float(sent) >= 0
    return False


def _make_sound(case: Any, things: Things, rng: random.Random) -> None:
    """Put what there is in place of generated names, files and options."""
    operation = case.operation
    if case.path_parameters and (names := things.named(operation.path)):
        case.path_parameters = {
            name: rng.choice(names) if name in ("id", "name") else "1" for name in case.path_parameters
        }
    if case.media_type == "application/json" and case.method == "POST":
        body = _training(operation.path, things, rng)
        case.body = body | (case.body if isinstance(case.body, dict) and rng.random() < 0.3 else {})
    elif case.media_type == "multipart/form-data":
        [form] = operation.body
        case.body = _form(form.resolved_schema["properties"], case.body, things, rng)


def _form(fields: dict[str, Any], sent: Any, things: Things, rng: random.Random) -> dict[str, Any]:
    sent = sent if isinstance(sent, dict) else {}
    form = {name: value for name, value in sent.items() if name not in fields or rng.random() < 0.1}
    for name, schema in fields.items():
        if schema.get("format") == "binary" and (name in ("image", "file") or rng.random() < 0.5):
            form[name] = _picture(rng)
        elif schema.get("items", {}).get("format") == "binary":
            form[name] = [_picture(rng) for _ in range(rng.randrange(1, 3))]
    sound = {"model": rng.choice(["", *things.models]), "resolution": rng.choice(("", "64", "square"))}
    sound |= {
        "wait": rng.choice(("0", "1")),
        "seed": "1",
        "seeds": "1,2",
        "name": rng.choice(["new", *things.datasets]),
    }
    return form | {name: value for name, value in sound.items() if name in fields and rng.random() < 0.7}


def _picture(rng: random.Random) -> bytes:
    return mutant(rng) if rng.random() < 0.4 else rng.choice(list(seeds().values()))


def _training(path: str, things: Things, rng: random.Random) -> dict[str, Any]:
    dataset = {"dataset": rng.choice(things.datasets or ["none"])}
    match path.rsplit("/", maxsplit=1)[-1]:
        case "publish":
            return {"name": rng.choice(["mine", *things.models])}
        case "resume":
            return {}
        case "compare":
            return {
                "family": "cyclegan",
                "base": CYCLEGAN | dataset,
                "variants": [{"batch_size": 1}, {"batch_size": 2}],
            }
    return (STARGAN if path.endswith("stargan") else CYCLEGAN) | dataset
