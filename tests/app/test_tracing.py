"""Traces of requests: from the client's own through API, queue and worker, as a collector gets them."""

import json
import re
import secrets
import threading

import pytest
from PIL import Image

from tests.collector import collector
from tests.fake_worker import RAISES, first_pixel
from tests.pictures import encoded, landscape
from tests.processes import api, eventually, fake_worker
from worker import tracing

PARTS = {"POST /translate", "decode", "submit", "queue", "inference"}


def traceparent() -> tuple[str, str, str]:
    """A new one, and the trace and the span that it names."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace_id}-{span_id}-01", trace_id, span_id


def translate(client, header, picture=None, **fields):
    files = {"image": encoded(picture or landscape())}
    headers = {"traceparent": header} if header else {}
    return client.post("/translate", files=files, data={"model": "tiny"} | fields, headers=headers)


@pytest.fixture
def collected(monkeypatch):
    """A collector to which processes that are started from now on send their traces."""
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # ms
        yield found


def test_a_trace_goes_through_the_queue(settings, collected, capfd):
    ours = [traceparent() for _ in range(2)]
    failing, failing_id, _ = traceparent()
    with api(settings) as client:
        for header, *_ in ours:  # they wait for the worker, and so become one batch
            assert translate(client, header, wait="0").status_code == 202
        with fake_worker(settings.redis_url, "--json-log"):
            last = translate(client, None, landscape().rotate(90, expand=True))  # its shape keeps it out of their batch
            assert translate(client, failing, Image.fromarray(first_pixel(RAISES))).status_code == 500
            client.get("/healthz", headers={"traceparent": traceparent()[0]})
            eventually(lambda: "inference" in collected.of(failing_id))
    spans = collected.spans
    assert not [span for span in spans if "healthz" in span.name]
    [batch] = [span for span in spans if span.name == "batch" and span.attributes["doppel.batch.size"] == 2]
    assert batch.parent == ""
    requests = [collected.of(trace_id) for _, trace_id, _ in ours]
    assert sorted(batch.links) == sorted((of["inference"].trace_id, of["POST /translate"].id) for of in requests)
    for of, (_, _, client_span) in zip(requests, ours, strict=True):
        assert set(of) == PARTS
        server = of["POST /translate"]
        assert (server.service, server.parent) == ("doppel-api", client_span)
        assert server.attributes["http.response.status_code"] == 202
        assert server.attributes["http.route"] == "/translate"
        assert {of[name].parent for name in PARTS - {"POST /translate"}} == {server.id}
        assert {of[name].service for name in ("queue", "inference")} == {"doppel-worker"}
        assert of["inference"].links == [(batch.trace_id, batch.id)]
        assert of["submit"].attributes["doppel.job.id"] == of["inference"].attributes["doppel.job.id"]
        assert of["decode"].ended <= of["submit"].begun <= of["queue"].begun <= of["queue"].ended <= batch.ended
    failed = collected.of(failing_id)
    assert failed["inference"].failed
    assert failed["inference"].events == ["exception"]
    assert failed["POST /translate"].failed

    # The one that sent no trace of its own began one. It has the parts that the answer tells of, in the same order.
    [root] = [span for span in spans if span.attributes.get("doppel.request_id") == last.headers["X-Request-Id"]]
    assert root.parent == ""
    of = collected.of(root.trace_id)
    assert set(of) == PARTS | {"encode"}
    said = re.findall(r"(\w+);dur=", last.headers["Server-Timing"])
    assert said == ["decode", "queue", "inference", "encode"]
    assert sorted(said, key=lambda part: of[part].begun) == said

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    batches = [line.get("trace_ids", line.get("trace_id")) for line in lines if "translation" in line["message"]]
    assert [sorted(trace_id for _, trace_id, _ in ours), root.trace_id] == [
        sorted(traces) if isinstance(traces, list) else traces for traces in batches[:2]
    ]


@pytest.mark.parametrize(("given", "recorded"), [("nonsense", True), (f"00-{'a' * 32}-{'b' * 16}-00", False)])
def test_what_the_client_says_of_its_trace_is_heeded_if_it_can_be(settings, collected, given, recorded):
    with api(settings) as client:
        assert client.get("/models", headers={"traceparent": given}).status_code == 200
    spans = [(span.name, span.parent) for span in collected.spans]
    assert spans == ([("GET /models", "")] if recorded else [])


def test_without_a_collector_requests_are_answered_and_the_server_ends(settings, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    with api(settings) as client:
        assert client.get("/models").status_code == 200
    ours = ("close-tracer", "Otel")
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith(ours)], within_s=20)


def test_without_the_extra_a_warning_says_what_to_install(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(tracing, "EXPORTER", "opentelemetry.nothing.of.the.kind")
    assert not tracing.tracer_of("doppel-test").enabled
    assert "pip install 'doppel[tracing]'" in caplog.text
