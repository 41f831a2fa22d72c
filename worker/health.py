"""Health check of a container: ``python -m worker.health worker`` exits with 0 if the worker of this host is alive.

Alive means that it has reported itself within the last ``RECENT_S`` to the Redis that DOPPEL_REDIS_URL names, with the
password in DOPPEL_REDIS_PASSWORD_FILE. A worker that cannot reach Redis is not alive.
"""

import os
import socket
import sys
from pathlib import Path

import redis

from models.errors import DoppelError
from worker.connection import connect, with_password
from worker.contract import ESTIMATE_QUEUE, FETCH_QUEUE, HEARTBEAT_S, PREPARATION_QUEUE
from worker.inference_queue import InferenceQueue
from worker.preparation_queue import PreparationQueue
from worker.training_queue import TrainingQueue

RECENT_S = 5 * HEARTBEAT_S


def worker_hosts(connection: redis.Redis) -> set[str]:
    """The hosts with a live inference worker."""
    return {worker.host for worker in InferenceQueue(connection).workers(seen_within_s=RECENT_S)}


def trainer_hosts(connection: redis.Redis) -> set[str]:
    """The hosts with a live trainer."""
    return {trainer.host for trainer in TrainingQueue(connection).trainers(seen_within_s=RECENT_S)}


def preparer_hosts(connection: redis.Redis) -> set[str]:
    """The hosts with live processes for all of a preparer's queues."""
    reports = PreparationQueue(connection).preparers(seen_within_s=RECENT_S)
    queues = (PREPARATION_QUEUE, FETCH_QUEUE, ESTIMATE_QUEUE)
    return set.intersection(*({report.host for report in reports if report.queue == queue} for queue in queues))


HOSTS = {"worker": worker_hosts, "trainer": trainer_hosts, "preparer": preparer_hosts}


def main(role: str) -> int:
    """The exit status: 0 if ``role`` is alive on this host. Why it is not known is said in one line."""
    url = os.environ.get("DOPPEL_REDIS_URL")
    if not url:
        print("DOPPEL_REDIS_URL is not set")
        return 1
    password_file = os.environ.get("DOPPEL_REDIS_PASSWORD_FILE")
    try:
        url = with_password(url, Path(password_file) if password_file else None)
        hosts = HOSTS[role](connect(url, patience_s=0))
    except (DoppelError, redis.RedisError, ValueError) as error:
        print(f"Redis: {error}")
        return 1
    return int(socket.gethostname() not in hosts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
