"""The private parts of RQ that the batch worker stands on; a new RQ that moves them fails here, not in production."""

import inspect

import rq
from rq import SimpleWorker
from rq.executions import Execution


def test_rq_is_the_version_whose_private_parts_are_known():
    assert rq.VERSION.split(".")[:2] == ["3", "0"]


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_methods_that_the_batch_worker_calls_or_overrides_are_there():
    assert parameters(SimpleWorker._finalize_success) == ["self", "job", "queue", "execution", "return_value"]
    assert parameters(SimpleWorker._finalize_failure) == ["self", "job", "queue", "execution", "exc_info"]
    assert parameters(SimpleWorker.execute_job) == ["self", "job", "queue"]
    assert parameters(SimpleWorker.maintain_heartbeats) == ["self", "job", "execution"]
    assert parameters(Execution.create)[:4] == ["job", "ttl", "pipeline", "worker_name"]
    assert isinstance(SimpleWorker.dequeue_timeout, property)
