"""The records of a job are those that RQ itself would leave, while it runs and when it is done."""

import json
import re
import zlib

from rq import Retry, SimpleWorker

from tests.fake_worker import first_pixel
from worker import contract
from worker.contract import MAX_TRIES, JobMeta, Status, Task
from worker.inference_queue import new_job_id, rq_queue
from worker.inference_worker import InferenceWorker
from worker.job_records import JOB_TIMEOUT_S, RECORD_TTL_S, once, queued
from worker.picture_bytes import input_key, pack
from worker.tasks import Result

TASK = Task(model="fake", height=32, width=32)
DOPPELS_OWN = {"batch_key", "cancelable", "owner", "work", "bytes", "turn"}  # fields of a job
READERS = {"hash": "hgetall", "zset": "zrange", "set": "smembers", "list": "lrange", "stream": "xrange"}
looks = []


def look(connection, **names):
    """RQ's keys → their content, with names instead of ids and times, and the seconds that they will be kept."""
    found = {}
    for key in connection.scan_iter("rq:*"):
        if key.startswith(b"rq:worker") and not key.endswith(b":executions"):
            continue  # of the worker, not of the job
        kind = connection.type(key).decode()
        if kind == "string":
            continue  # a lock
        reader = getattr(connection, READERS[kind])
        content = reader(key, 0, -1) if kind in ("zset", "list") else reader(key)
        if kind == "stream":
            content = [fields for _, fields in content]
        if kind == "hash":
            content = {
                name: value for name, value in content.items() if name.decode() not in DOPPELS_OWN | {"data", "meta"}
            }
        found[told(key, names)] = told(content, names), connection.ttl(key)
    return found


def told(content, names):
    text = str(content)
    for name, value in names.items():
        text = text.replace(value, name)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d{10}(\.\d+)?", "TIME", text)
    return sorted(re.findall(r"[^{}\[\], ]+", text)) if isinstance(content, dict | set | list) else text


def look_at_the_running_job(connection, queue, name):
    [both] = queue.started_job_registry.get_job_and_execution_ids()
    return look(connection, JOB=both[0], EXECUTION=both[1], WORKER=name)


def seen_by_rq(**arguments):
    """A job of RQ's own, which looks at itself."""
    queue, name = looks.pop()
    looks.append(look_at_the_running_job(queue.connection, queue, name))


def of_rq(connection):
    """What RQ writes for a job with the options of Doppel's: queued, running, done."""
    queue = rq_queue(connection)
    job = queue.create_job(
        f"{__name__}.seen_by_rq",
        kwargs=TASK.model_dump(exclude_none=True),
        meta=JobMeta(model="fake").model_dump(exclude_none=True),
        result_ttl=RECORD_TTL_S,
        failure_ttl=RECORD_TTL_S,
        retry=Retry(max=MAX_TRIES - 1, enqueue_at_front=True),
        description=TASK.batch_key,
    )
    queue.enqueue_job(job)
    before = look(connection, JOB=job.id)
    worker = SimpleWorker([queue], name="rqs", connection=connection, serializer=queue.serializer)
    worker.get_heartbeat_ttl = lambda job, working_time=0.0: contract.LEASE_S
    looks.append((queue, "rqs"))
    worker.work(burst=True, logging_level="ERROR")
    [execution] = {fields[b"execution_id"].decode() for _, fields in connection.xrange(f"rq:results:{job.id}")}
    return before, looks.pop(), look(connection, JOB=job.id, EXECUTION=execution, WORKER="rqs")


def run(connection, job_id, commands):
    with connection.pipeline() as pipe:
        for command in once(job_id, commands, by_hash=False):
            pipe.execute_command(*command)
        pipe.execute()


def of_doppel(connection):
    queue, job_id = rq_queue(connection), new_job_id()
    run(connection, job_id, queued(queue.name, job_id, TASK, pack(first_pixel((1, 2, 3))), JobMeta(model="fake")))
    before = look(connection, JOB=job_id)

    class Runner:
        def run_batch(self, tasks):
            looks.append(look_at_the_running_job(connection, queue, worker.name))
            return [Result([loaded.pictures[0]]) for loaded in tasks]

        def loaded(self):
            return []

    worker = InferenceWorker(
        connection,
        Runner(),
        device="none",
        max_batch=4,
        batch_wait_ms=0,
        result_ttl_s=60,
    )
    worker.work(burst=True, logging_level="ERROR")
    [execution] = {fields[b"execution_id"].decode() for _, fields in connection.xrange(f"rq:results:{job_id}")}
    return before, looks.pop(), look(connection, JOB=job_id, EXECUTION=execution, WORKER=worker.name)


def test_a_job_has_the_records_that_rq_would_write(queue, signals):
    expected = of_rq(queue.connection)
    queue.connection.flushall()
    actual = of_doppel(queue.connection)
    for ours, rqs in zip(actual, expected, strict=True):
        assert {key: content for key, (content, _) in ours.items()} == {key: one for key, (one, _) in rqs.items()}
        kept = {key: (ttl, rqs[key][1]) for key, (_, ttl) in ours.items() if "rq:worker" not in key}  # by heartbeats
        assert all(abs(our_s - rqs_s) < 30 for our_s, rqs_s in kept.values()), kept


def test_rq_can_read_the_call_and_what_is_stored_with_it(queue):
    job_id, meta = new_job_id(), JobMeta(model="fake", seeds=[3])
    run(queue.connection, job_id, queued(contract.INFERENCE_QUEUE, job_id, TASK, b"", meta))
    [job] = rq_queue(queue.connection).jobs
    assert (job.id, job.func_name, job.args, job.timeout) == (job_id, contract.RUN_TASK, [], JOB_TIMEOUT_S)
    assert Task.model_validate(job.kwargs) == TASK
    assert JobMeta.model_validate(job.meta) == meta
    data = queue.connection.hget(job.key, "data")
    assert json.loads(zlib.decompress(data))[0] == contract.RUN_TASK


def test_a_job_that_is_submitted_once_more_is_queued_once(queue):
    """Its client sends it again if Redis ran it and the reply was lost."""
    job_id = new_job_id()
    commands = queued(contract.INFERENCE_QUEUE, job_id, TASK, pack(first_pixel((1, 2, 3))), JobMeta(model="fake"))

    def submit():
        run(queue.connection, job_id, commands)

    submit()
    submit()
    assert rq_queue(queue.connection).get_job_ids() == [job_id]
    assert queue.connection.exists(input_key(job_id))
    queue.cancel(job_id)
    submit()
    assert rq_queue(queue.connection).get_job_ids() == []
    assert queue.state(job_id).status is Status.CANCELED
    assert not queue.connection.exists(input_key(job_id))
