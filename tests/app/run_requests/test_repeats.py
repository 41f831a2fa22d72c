"""Runs and comparisons that are ordered again under one idempotency key."""

import pytest

from tests.training import cyclegan
from worker import contract

COMPARISON = {"family": "cyclegan", "base": cyclegan(), "variants": [{"lr": 1e-4}, {"lr": 2e-4}]}


@pytest.mark.parametrize(
    ("path", "order", "runs"),
    [("/training/cyclegan", cyclegan(), 1), ("/training/compare", COMPARISON, 2)],
    ids=["run", "comparison"],
)
def test_it_is_made_once_even_if_the_api_died_before_it_answered(training, queue, path, order, runs):
    def send():
        answer = training.post(path, json=order, headers={"Idempotency-Key": "one"})
        assert answer.status_code == 202, answer.text
        return answer

    first, again = send(), send()
    assert (again.json(), again.headers["Location"]) == (first.json(), first.headers["Location"])
    [key] = queue.connection.keys(f"{contract.REQUESTS}*")
    queue.connection.hdel(key, "done", "answer")  # as such an API leaves it
    taken_up = send()
    assert taken_up.json()["id"] == first.json()["id"]
    assert taken_up.headers["Location"] == first.headers["Location"]
    assert len(training.get("/training").json()) == runs
