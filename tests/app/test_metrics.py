"""What Prometheus scrapes, read by Prometheus' own parser."""

from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.fake_worker import RAISES, first_pixel
from tests.pictures import encoded, landscape
from tests.processes import eventually


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


def test_pictures_jobs_batches_and_stages_are_counted(service):
    for _ in range(3):
        assert translate(service).status_code == 200
    assert translate(service, RAISES).status_code == 500
    read = eventually(
        lambda: (found := scrape(service)).get(("doppel_jobs_total", "translation", "tiny", "failed")) and found
    )
    assert read["doppel_jobs_total", "translation", "tiny", "failed"] == 1
    assert read["doppel_jobs_total", "translation", "tiny", "succeeded"] == 3
    assert read["doppel_pictures_total", "tiny"] == 3
    assert read["doppel_batch_size_bucket", "1.0"] == read["doppel_batch_size_count",] == 4
    for stage, jobs in (("decode", 4), ("queue", 4), ("inference", 4), ("encode", 3)):
        assert read["doppel_stage_seconds_count", stage] == jobs
        assert read["doppel_stage_seconds_bucket", "+Inf", stage] == jobs
        assert 0 <= read["doppel_stage_seconds_sum", stage] < 60
