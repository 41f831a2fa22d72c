"""Training by the Python client, and under an idempotency key."""

import asyncio
import io

import pytest
from PIL import Image

import doppel
from tests.training import ENDLESS, cyclegan


@pytest.fixture
def client(service):
    with doppel.Doppel(str(service.base_url), trust_env=False) as connected:
        yield connected


def options(**more):
    return {name: value for name, value in cyclegan(**more).items() if name != "dataset"}


def test_a_run_is_started_followed_stopped_resumed_and_published(client):
    forecast = client.forecast("cyclegan", "colors", **options())
    assert forecast["total_steps"] == 18
    run = client.train("cyclegan", "colors", **options(**ENDLESS))
    assert (run.family, run.dataset, run.ended) == ("cyclegan", "colors", False)
    losses = []

    def see(event):
        if event.name == "metrics" and not losses:
            losses.append(event.data)
            client.stop(run)

    stopped = client.follow(run, see)
    assert stopped.status == "stopped"
    assert losses[0]["step"] >= 1
    assert {one.id for one in client.runs()} >= {run.id}
    more = client.resume(run, epochs=stopped.step / 6 + 1)
    assert client.follow(more.id).status == "succeeded"
    assert client.run(run.id).step > stopped.step
    assert client.publish(run, "by-the-client", direction="BtoA") == 1
    assert Image.open(io.BytesIO(client.sample(run))).format == "PNG"
    assert client.translate(client.sample(run), "by-the-client").model == "by-the-client"
    with pytest.raises(doppel.ApiError) as caught:
        client.train("cyclegan", "nothing", **options())
    assert caught.value.status == 404


def test_a_run_that_is_ordered_twice_under_one_key_is_one(service, place):
    async def both():
        async with doppel.AsyncDoppel(str(service.base_url), trust_env=False, client_name="x" * 16) as client:
            orders = (client.train("cyclegan", "colors", key="one", **options(epochs=1)) for _ in range(2))
            return await asyncio.gather(*orders)

    first, second = asyncio.run(both())
    assert first == second
    form = {"json": cyclegan(epochs=1), "headers": {"X-Client": "x" * 16, "Idempotency-Key": "one"}}
    again = service.post("/training/cyclegan", **form)
    assert (again.status_code, again.headers["Location"]) == (202, f"/training/{first.id}")
    other = service.post("/training/cyclegan", **{**form, "json": cyclegan(epochs=2)})
    assert other.status_code == 422
