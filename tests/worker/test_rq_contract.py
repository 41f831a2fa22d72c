"""The private parts of RQ that the workers rely on; a new RQ that moves them fails here, not in production."""

import inspect

import pytest
import redis.asyncio
import rq
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.suspension import is_suspended

from worker.connection import connect
from worker.inference_worker import InferenceWorker
from worker.training_process import Trainer


def test_rq_is_the_version_whose_private_parts_are_known():
    assert rq.VERSION.split(".")[:2] == ["3", "0"]


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_methods_that_the_batch_worker_calls_or_overrides_are_there():
    execution = ["worker_name", "execution_id", "execution_started_at", "execution_ended_at"]
    assert parameters(Job._handle_success) == ["self", "result_ttl", "pipeline", *execution]
    assert parameters(Job._handle_failure) == ["self", "exc_string", "pipeline", *execution]
    assert parameters(SimpleWorker.cleanup_execution) == ["self", "job", "pipeline", "execution"]
    assert parameters(SimpleWorker.execute_job) == ["self", "job", "queue"]
    assert parameters(SimpleWorker.dequeue_job_and_maintain_ttl) == ["self", "timeout", "max_idle_time"]
    assert parameters(SimpleWorker.maintain_heartbeats) == ["self", "job", "execution"]
    assert parameters(Execution.create)[:4] == ["job", "ttl", "pipeline", "worker_name"]
    assert isinstance(SimpleWorker.dequeue_timeout, property)
    assert parameters(Queue._fetch_dequeued_job)[:3] == ["connection", "queue_key", "job_id"]
    assert parameters(SimpleWorker.check_for_suspension) == ["self", "burst"]
    assert parameters(is_suspended) == ["connection", "worker"]
    assert isinstance(SimpleWorker.should_run_maintenance_tasks, property)
    assert parameters(SimpleWorker.set_state) == ["self", "state", "pipeline"]


def test_the_parts_of_redis_py_that_the_shared_connection_takes_over_are_there():
    connection = redis.asyncio.Connection()
    assert (connection._reader, connection._writer) == (None, None)


def test_methods_that_the_trainer_calls_or_overrides_are_there():
    assert parameters(SimpleWorker.prepare_execution) == ["self", "job"]
    assert parameters(SimpleWorker.prepare_job_execution) == ["self", "job", "remove_from_intermediate_queue"]
    assert parameters(SimpleWorker._finalize_success) == ["self", "job", "queue", "execution", "return_value"]
    assert parameters(SimpleWorker._finalize_failure) == ["self", "job", "queue", "execution", "exc_info"]
    assert parameters(SimpleWorker.handle_warm_shutdown_request) == ["self"]
    assert parameters(SimpleWorker.set_shutdown_requested_date) == ["self"]
    assert parameters(SimpleWorker.kill_horse) == ["self", "sig"]


@pytest.mark.parametrize("kind", [InferenceWorker, Trainer])
def test_waiting_for_a_job_is_not_taken_for_a_lost_redis(kind, redis_url):
    connection = connect(redis_url, patience_s=0)
    connection.ping()  # opens it; RQ gives only those that come later a longer timeout
    wait_s = kind.dequeue_timeout.fget(None)
    assert connection.blpop(["nothing"], timeout=wait_s) is None
