"""What Prometheus scrapes, read by Prometheus' own parser."""

import json
import math
import re
import time

import redis
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from app import main
from models.store.options import CycleGANOptions
from models.store.run_lock import lock_run
from models.store.run_status import RunState, RunStatus, now
from models.store.runs import RunStore
from tests.fake_worker import GO, HELD, RAISES, first_pixel
from tests.pictures import encoded, landscape
from tests.processes import ROOT, api, eventually, free_port
from worker.contract import METERS, WORKERS, WorkerReport


def scrape(client):
    """Each sample's value, by its name and its labels' values in order of their names."""
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def translate(client, color=None, **data):
    picture = Image.fromarray(first_pixel(color)) if color else landscape()
    return client.post("/translate", files={"image": encoded(picture)}, data={"model": "tiny", **data})


def counted(client, *key, at_least=1):
    """A scrape in which this sample has come to a value; workers report every two seconds."""
    return eventually(lambda: (found := scrape(client)).get(key, 0) >= at_least and found)


def test_pictures_jobs_batches_and_stages_are_counted(service):
    for _ in range(3):
        assert translate(service).status_code == 200
    job = translate(service, wait="0").json()
    eventually(lambda: service.get(job["links"]["self"]).json()["status"] == "succeeded")
    assert service.get(f"/jobs/{job['id']}/image").status_code == 200
    assert translate(service, RAISES).status_code == 500
    read = counted(service, "doppel_jobs_total", "translation", "tiny", "failed")
    assert read["doppel_jobs_total", "translation", "tiny", "failed"] == 1
    assert read["doppel_jobs_total", "translation", "tiny", "succeeded"] == 4
    assert read["doppel_pictures_total", "tiny"] == 4
    assert read["doppel_batch_size_bucket", "1.0"] == read["doppel_batch_size_count",] == 5
    for stage, jobs in (("decode", 5), ("queue", 5), ("inference", 5), ("encode", 4)):
        assert read["doppel_stage_seconds_count", stage] == read["doppel_stage_seconds_bucket", "+Inf", stage] == jobs
        assert 0 <= read["doppel_stage_seconds_sum", stage] < 60


def test_the_queue_is_shown_as_it_is_and_batches_by_their_size(service, settings):
    translate(service, HELD, wait="0")
    counted(service, "doppel_queue_running_jobs", "pictures")
    for _ in range(3):
        translate(service, wait="0")
    read = counted(service, "doppel_queue_waiting_jobs", "pictures", at_least=3)
    assert (read["doppel_queue_waiting_jobs", "pictures"], read["doppel_queue_running_jobs", "pictures"]) == (3, 1)
    assert 0 < read["doppel_queue_oldest_seconds", "pictures"] < 60
    assert (read["doppel_workers",], read["doppel_redis_up",], read["doppel_ready",]) == (1, 1, 1)
    [memory] = [value for (name, *_), value in read.items() if name == "doppel_worker_memory_bytes"]
    assert 10 << 20 < memory < 4 << 30
    redis.Redis.from_url(settings.redis_url).set(GO, 1, ex=20)
    read = counted(service, "doppel_batch_size_count", at_least=2)
    # One alone, and three that waited together: at most 1, 2, 4.
    assert [read["doppel_batch_size_bucket", bound] for bound in ("1.0", "2.0", "4.0")] == [1, 1, 2]
    assert read["doppel_batch_size_sum",] == 4


def test_requests_are_counted_by_route_and_refusals_by_title(client):
    client.get("/models/nothing-of-this-name")
    client.get("/models/nor-of-this")
    client.get("/wp-login.php")
    client.get("/healthz", headers={"Host": "attacker.example"})
    client.post("/translate", data={"model": "tiny"})
    client.request("BREW", "/healthz")
    read = scrape(client)
    assert read["doppel_http_requests_total", "GET", "/models/{name}", "404"] == 2
    assert read["doppel_http_requests_total", "GET", "none", "404"] == 1
    assert read["doppel_http_requests_total", "GET", "none", "400"] == 1
    assert read["doppel_http_requests_total", "POST", "/translate", "422"] == 1
    assert not [key for key in read if "BREW" in key]
    assert read["doppel_http_request_duration_seconds_count", "/models/{name}"] == 2
    assert read["doppel_rejections_total", "404", "Not found"] == 2
    assert read["doppel_rejections_total", "404", "Not Found"] == 1
    assert read["doppel_rejections_total", "400", "Unknown host name"] == 1
    assert read["doppel_rejections_total", "422", "Invalid request"] == 1


def test_all_api_processes_tell_the_same(client, settings):
    with api(settings) as other:
        for each, requests in ((client, 2), (other, 3)):
            for _ in range(requests):
                each.get("/models")
        key = ("doppel_http_requests_total", "GET", "/models", "200")
        assert [counted(each, *key, at_least=5)[key] for each in (client, other)] == [5, 5]


def test_a_full_redis_is_shown_and_what_is_counted_meanwhile_is_kept(client, settings):
    connection = redis.Redis.from_url(settings.redis_url)
    limit = connection.config_get("maxmemory")["maxmemory"]
    connection.config_set("maxmemory", 1 << 20)  # it holds more than that
    try:
        client.get("/models/nothing-of-this-name")
        read = scrape(client)
    finally:
        connection.config_set("maxmemory", limit)
    assert (read["doppel_redis_up",], read["doppel_redis_memory_limit_bytes",]) == (1, 1 << 20)
    assert read["doppel_redis_memory_bytes",] >= 1 << 20
    assert (
        counted(client, "doppel_rejections_total", "404", "Not found")["doppel_rejections_total", "404", "Not found"]
        == 1
    )


def test_what_others_wrote_to_redis_makes_neither_errors_nor_series(client, settings):
    connection = redis.Redis.from_url(settings.redis_url)
    fields = {
        '["jobs","removed","translation","succeeded"]': "7",
        '["jobs","tiny","translation","succeeded"]': "nan",
        '["jobs","tiny"]': "1",
        '["stage_seconds","queue","99"]': "1",
        '["http_requests",["GET"],"/","200"]': "1",
        "jobs": "1",
        "\xff": "many",
    }
    connection.hset(METERS, mapping=fields)
    connection.hset(WORKERS, "w", "{}")
    report = WorkerReport(
        name="w2", pid=1, host="far-away", device="cuda:1", loaded=[], seen_at=time.time() + 60, gpu_memory_mb=512
    )
    connection.hset(WORKERS, "w2", report.model_dump_json())
    read = scrape(client)
    assert not [key for key in read if key[0] == "doppel_jobs_total"]
    assert read["doppel_worker_gpu_memory_bytes", "cuda:1", "far-away", "1"] == 512 << 20
    assert all(math.isfinite(value) for value in read.values())


def test_runs_are_counted_by_state_and_the_one_under_way_shows_its_pace(client, settings):
    store = RunStore(settings.data_dir)
    options = CycleGANOptions(dataset=settings.data_dir / "datasets" / "photos", batch_size=4)

    def add(state, **status):
        return store.create(options, RunStatus(status=state, created_at=now(), updated_at=now(), **status))

    add(RunState.STOPPED)
    add(RunState.STOPPED)
    run = add(RunState.RUNNING, step=30, total_steps=100, images_per_s=10.0)
    with lock_run(store.folder(run).path):
        read = scrape(client)
    states = {state: read["doppel_training_runs", state] for state in RunState}
    assert states == {"queued": 0, "running": 1, "succeeded": 0, "stopped": 2, "failed": 0}
    assert (read["doppel_training_step", run], read["doppel_training_total_steps", run]) == (30, 100)
    assert read["doppel_training_steps_per_second", run] == 2.5
    assert not [key for key in read if key[0] == "doppel_training_gpu_memory_bytes"]


def test_open_metrics_are_sent_to_whom_asks_for_them(client):
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "doppel_queue_waiting_jobs" in {family.name for family in open_metrics(answer.text)}


def test_a_redis_that_is_away_is_shown_as_such(settings, monkeypatch):
    monkeypatch.setattr(main, "PATIENCE_S", 0)
    with api(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}"})) as client:
        assert scrape(client) == {("doppel_redis_up",): 0}


def test_the_page_the_dashboard_and_the_alerts_name_the_metrics_that_there_are(client):
    kinds = {family.name: family.type for family in text_string_to_metric_families(client.get("/metrics").text)}
    samples = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    there = {f"{name}{suffix}" for name, kind in kinds.items() for suffix in samples[kind]}
    page = (ROOT / "docs/monitoring.md").read_text()
    table = set(re.findall(r"`(doppel_\w+)`", page))
    assert table == {f"{name}_total" if kind == "counter" else name for name, kind in kinds.items()}
    dashboard = json.loads((ROOT / "deploy/grafana/doppel.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += [(ROOT / "deploy/prometheus/alerts.yml").read_text(), page.partition("Some questions:")[2]]
    assert len(asked) > 20
    assert {name for text in asked for name in re.findall(r"\bdoppel_\w+", text)} <= there
