"""Records of jobs that no version of Doppel writes: sound ones with fields, task, pictures or types changed."""

import contextlib
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import redis
from rq import Queue
from rq.job import Job

from tests.fake_worker import first_pixel
from worker import contract
from worker.contract import JobMeta, Task
from worker.inference_queue import rq_queue
from worker.job_records import BATCH_KEY_FIELD, CANCELABLE_FIELD, LONG_FIELD, queued
from worker.picture_bytes import history_key, input_key, output_key, pack
from worker.tasks import MAX_TASK_BYTES

SIDE = 16
CLIENT = "f" * 32  # whose list of jobs is poisoned
DEEP = b"[" * 3_000 + b"]" * 3_000
_TASKS = [zlib.compress(content) for content in (DEEP, b"", b"[1,2]", b'"abcd"', b"\xff", bytes(MAX_TASK_BYTES + 1))]
_FIELDS = (
    *("status", "created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat", "origin", "description"),
    *("timeout", "result_ttl", "failure_ttl", "ttl", "retries_left", "retry_intervals", "worker_name", "group_id"),
    *("success_callback_name", "dependency_ids", "meta", "data", "doppel_returns", "allow_dependency_failures"),
    *(BATCH_KEY_FIELD, LONG_FIELD, CANCELABLE_FIELD),
)
_BYTES = (
    *(b"", b"\0", b"\xff\xfe", b"null", b"[]", b"{}", b"-1", b"0", b"1e999", b"nan", b"9" * 400, b"yesterday", DEEP),
    *(b"9999-12-31T23:59:59.999999Z", b"0001-01-01T00:00:00+23:59", b"queued", b"started", b"finished", b"failed"),
    *(b'{"model":"fake","done":1e999}', b'{"model":"fake","notes":["\\u2192\\n","a"],"seeds":[1e3]}', b"os.system"),
)
_JSON: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**63, 10**30, 1e308, "", "x", "\ud800", [], {}, [[]], [1], {"a": 1}),
    *(float("nan"), float("inf"), "video", "grid", "clip", "style", "dataset", [{"domain": 0}], [{"domain": 0}] * 3),
    {"width": 2, "height": 2, "frames": 1, "max_frames": 1, "max_pixels": 4},
    {"strength": 1e308, "reduction": 0},
)


def put(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    """Queue a job of the fake model whose record, task or pictures are not as they should be."""
    task = Task(model="fake", height=SIDE, width=SIDE)
    picture = pack(first_pixel((128, 128, 128), SIDE, SIDE))
    *record, _ = queued(contract.INFERENCE_QUEUE, job_id, task, picture, JobMeta(model="fake"))
    for command in record:
        connection.execute_command(*command)
    for _ in range(rng.choice((1, 1, 2, 3))):
        with contextlib.suppress(redis.ResponseError):  # the key holds a list by now
            rng.choice(_CHANGES)(connection, job_id, rng)
    connection.rpush(rq_queue(connection).key, job_id)


def put_result(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    """Have a job have succeeded, with a result or with metadata that are not as they should be."""
    put(connection, job_id, rng)
    connection.lrem(rq_queue(connection).key, 0, job_id)
    if connection.type(Job.key_for(job_id)) == b"hash":
        connection.hset(Job.key_for(job_id), "status", "finished")
    if rng.random() < 0.5:
        connection.set(output_key(job_id), pack(first_pixel((0, 0, 0), SIDE, SIDE)))
    else:
        connection.set(output_key(job_id), _packed(rng))


def _field(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    connection.hset(Job.key_for(job_id), rng.choice(_FIELDS), rng.choice(_BYTES))


def _missing_field(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    connection.hdel(Job.key_for(job_id), rng.choice(_FIELDS))


def _task(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    """A task of another kind than its record says, or of absurd values."""
    fields = json.loads(Task(model="fake", height=SIDE, width=SIDE).model_dump_json())
    for _ in range(rng.choice((1, 2, 3))):
        fields[rng.choice(list(fields))] = rng.choice(_JSON)
    call: list[Any] = [contract.RUN_TASK, None, [], fields]
    if rng.random() < 0.2:
        call[rng.randrange(4)] = rng.choice(_JSON)
    connection.hset(Job.key_for(job_id), "data", zlib.compress(json.dumps(call).encode()))


def _data(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    connection.hset(Job.key_for(job_id), "data", rng.choice(_TASKS))


def _meta(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    fields = json.loads(JobMeta(model="fake").model_dump_json())
    for _ in range(rng.choice((1, 2, 3))):
        fields[rng.choice(list(fields))] = rng.choice(_JSON)
    connection.hset(Job.key_for(job_id), "meta", json.dumps(fields))


def _pictures(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    connection.set(input_key(job_id), _packed(rng))


def _packed(rng: random.Random) -> bytes:
    sides = struct.pack("<II", *(rng.choice((0, 1, SIDE, 2**31, 2**32 - 1)) for _ in range(2)))
    return sides * rng.choice((0, 1, 2)) + bytes(rng.choice((0, 1, 3, 3 * SIDE * SIDE)))


def _other_type(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    """A key of the job that holds a list."""
    keys = (Job.key_for(job_id), input_key(job_id), output_key(job_id), history_key(job_id), f"rq:executions:{job_id}")
    key = rng.choice(keys)
    connection.delete(key)
    connection.rpush(key, "x")


def _queued_twice(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    queue: Queue = rq_queue(connection)
    connection.rpush(rng.choice((queue.key, queue.intermediate_queue_key)), job_id)


def _gone(connection: redis.Redis, job_id: str, rng: random.Random) -> None:
    connection.delete(rng.choice((Job.key_for(job_id), input_key(job_id))))


_CHANGES: tuple[Callable[[redis.Redis, str, random.Random], None], ...] = (
    *(_field, _field, _task, _task, _meta, _missing_field, _data, _pictures, _other_type, _queued_twice, _gone),
)


def poison(connection: redis.Redis, rng: random.Random) -> None:
    """Fill what all processes share, beside the queues, with what none of them writes."""
    for name in (contract.WORKERS, contract.TRAINERS, contract.PREPARERS, contract.CLAIMS, contract.FETCHES):
        connection.hset(name, mapping={f"field{n}": value for n, value in enumerate(_BYTES)})
    for content in _JSON:
        connection.hset(contract.METERS, json.dumps(content), rng.choice(_BYTES))
    connection.zadd(contract.JOBS_OF + CLIENT, {value: n for n, value in enumerate(_BYTES)})
