"""What crosses Redis comes back as it was, and whatever else is found there is read without an error."""

import contextlib
import json
import zlib
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import BaseModel
from rq.job import Job

from models.provenance.origin import Input, Origin
from models.serving.painting import Painting
from models.serving.style_guide import StyleGuide
from worker import contract
from worker.batching import StartedJob
from worker.contract import Task
from worker.errors import TaskError
from worker.file_bytes import pack_file, unpack_file
from worker.inference_queue import job_state, live_workers, restored
from worker.picture_bytes import pack, unpack
from worker.tasks import LoadedTask, RunningJob

EXAMPLES = 25
quick = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

_PARTS = (StyleGuide, Painting, Input, Origin, contract.Filming, contract.Timings, contract.Arrangement)
RECORDS = (
    *(Task, contract.Failure, contract.Delivery, contract.JobMeta, contract.JobState, contract.JobEvent),
    contract.WorkerReport,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def records(kind: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Sound records of a kind: each field as its type and its bounds have it."""
    fields = {
        name: st.from_type(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
        for name, field in kind.model_fields.items()
    }
    return st.fixed_dictionaries(fields).map(kind.model_validate)


TASKS = JSON.map(lambda value: zlib.compress(_dumped([contract.RUN_TASK, None, [], value])))

st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
for part in (*_PARTS, *RECORDS):
    st.register_type_strategy(part, records)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_comes_back_as_it_was(kind):
    @quick
    @given(records(kind))
    def comes_back(record):
        assert kind.model_validate_json(record.model_dump_json(exclude_none=True)) == record

    comes_back()


@quick
@given(st.lists(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))), max_size=3))
def test_pictures_come_back_as_they_were(pictures):
    assert [picture.tolist() for picture in unpack(pack(*pictures))] == [picture.tolist() for picture in pictures]


@quick
@given(st.binary(max_size=40))
def test_a_file_comes_back_as_it_was(data):
    assert unpack_file(pack_file(data)) == data


@quick
@given(st.binary(max_size=40))
def test_bytes_that_are_no_pictures_are_refused(data):
    with contextlib.suppress(ValueError):
        assert pack(*unpack(data)) == data


@quick
@given(st.binary(max_size=60) | TASKS)
def test_a_job_of_any_content_is_a_task_within_bounds_or_fails_with_a_sentence(data):
    fields = {b"data": data, b"meta": data, b"enqueued_at": data}
    running = RunningJob.load(StartedJob(None, "a", "b", datetime.now(UTC), fields, packed=data))
    if isinstance(running.loaded, LoadedTask):
        running.loaded.task.require_bounded()
    else:
        assert isinstance(running.result, TaskError)
        assert str(running.result)


@quick
@given(st.dictionaries(st.sampled_from(["status", "origin", "created_at", "timeout", "meta", "data"]), st.binary()))
def test_a_record_of_any_fields_can_be_looked_at(fields):
    job = restored(redis.Redis(), "a", {name.encode(): value for name, value in fields.items()})
    assert isinstance(job, Job)
    state = job_state(job, None)
    assert state is None or contract.JobState.model_validate_json(state.model_dump_json()) == state


@quick
@given(st.lists(st.binary() | JSON.map(_dumped), max_size=3))
def test_reports_that_cannot_be_read_are_no_workers(reports):
    assert live_workers(reports, 60) == []
