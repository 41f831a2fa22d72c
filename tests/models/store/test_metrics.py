"""A run's metrics, found without reading them all."""

import json
import math
import os
import random

import pytest

from models.errors import RunFolderError
from models.store.metrics import BLOCK_BYTES, MetricsFile


def write(path, steps, *, seed=0):
    """A file whose lines differ in length: the first tenth has fewer losses, and one line is longer than a block."""
    rng = random.Random(seed)
    records = []
    for place, step in enumerate(steps):
        names = ["a"] if place < len(steps) / 10 else ["a", "b", "loss" * (BLOCK_BYTES // 4 if place == 50 else 2)]
        records.append({"step": step, "seconds": step / 8, **{name: rng.random() for name in names}})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return MetricsFile(path), records


@pytest.mark.parametrize(
    "steps", [range(1, 2), range(1, 6), range(1, 3000), [n for n in range(1, 3000) if n % 97]], ids=len
)
@pytest.mark.parametrize(("after_step", "points"), [(0, 1), (1, 700), (1500, 7), (3000, 3)])
def test_every_nth_step_up_to_the_last(tmp_path, steps, after_step, points):
    metrics, records = write(tmp_path / "metrics.jsonl", steps)
    count = max(0, records[-1]["step"] - after_step)
    wanted = set(range(records[-1]["step"], after_step, -math.ceil(count / points))) if count else set()
    found = metrics.thinned(after_step=after_step, points=points)
    assert len(found) <= points
    assert [record for record in found if record["step"] in wanted] == [
        record for record in records if record["step"] in wanted
    ]
    # Where a step has no record, the next one that has stands for it.
    gaps = wanted - {record["step"] for record in records}
    assert {record["step"] - 1 for record in found if record["step"] not in wanted} <= gaps
    assert list(metrics.read(after_step=after_step)) == [record for record in records if record["step"] > after_step]
    assert (
        list(metrics.read(after_step=after_step, at_most=2))
        == [record for record in records if record["step"] > after_step][:2]
    )
    assert metrics.last_step() == records[-1]["step"]


def test_little_of_a_long_file_is_read(tmp_path, monkeypatch):
    metrics, records = write(tmp_path / "metrics.jsonl", range(1, 60_000))
    nbytes = 0
    pread = os.pread

    def counted(*arguments):
        nonlocal nbytes
        block = pread(*arguments)
        nbytes += len(block)
        return block

    monkeypatch.setattr(os, "pread", counted)
    assert metrics.thinned(after_step=100, points=5)[-1] == records[-1]
    assert next(metrics.read(after_step=40_000)) == records[40_000]
    metrics.cut_back(30_000)
    assert nbytes < metrics.path.stat().st_size / 5


@pytest.mark.parametrize("unfinished", ["", '{"step": 200, "sec', "\0" * 20])
@pytest.mark.parametrize(("step", "left"), [(0, 0), (40, 40), (199, 199), (500, 199)])
def test_a_run_that_is_resumed_loses_what_came_after_its_checkpoint(tmp_path, unfinished, step, left):
    metrics, records = write(tmp_path / "metrics.jsonl", range(1, 200))
    with metrics.path.open("a") as file:
        file.write(unfinished)
    assert metrics.last_step() == 199
    metrics.cut_back(step)
    metrics.append({"step": step + 1, "a": 1.0})
    assert list(metrics.read()) == [*records[:left], {"step": step + 1, "a": 1.0}]


def test_a_damaged_file_is_named(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    assert (metrics.last_step(), list(metrics.read()), metrics.thinned(points=3)) == (0, [], [])
    metrics.path.write_text("nonsense\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl"):
        metrics.last_step()
