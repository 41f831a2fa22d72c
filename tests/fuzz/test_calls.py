"""Requests made of the OpenAPI document: no 5xx but 503, and each answer as its call documents it."""

from tests.processes import fake_worker
from tests.training import add_dataset

SHARE = 8  # one of so many operations, another share for each seed; `make bench ONLY=fuzz` calls all


def test_answers_are_as_documented(client, settings, redis_url):
    from tests.fuzz.calls import Things, call

    add_dataset(settings.data_dir)
    things = Things(models=["style_monet-lite", "stargan-monet-lite", "style-by-example"], datasets=["colors"])
    with fake_worker(redis_url):
        tally = call(client, things, seed=14, examples=1, phases=["fuzzing"], share=SHARE)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.calls >= len(tally.operations) > 5
