"""A real worker process around a model that costs nothing: ``python tests/fake_worker.py REDIS_URL [options]``.

It inverts pictures. What it does besides depends on a picture's first pixel, so that tests can order any accident.
"""

import argparse
import logging
import os
import signal
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import redis

from models import logs
from models.pictures import Picture
from worker.connection import connect
from worker.inference_worker import MAX_JOB_S, InferenceWorker
from worker.process_memory import limit_memory
from worker.tasks import LoadedTask, Result, Step
from worker.tracing import tracer_of

KILLS = (255, 0, 0)  # ends the worker process as kill -9 does
RAISES = (0, 255, 0)
HELD = (0, 0, 255)  # is not done before there is the key GO in Redis
NEWER = (255, 0, 255)  # is made by another version of its model than the one that was ordered
HUGE = (0, 255, 255)  # takes 4 GiB
GO = "fake:go"
TILES = 20


def first_pixel(color: tuple[int, int, int], height: int = 32, width: int = 32) -> Picture:
    """A grey picture (height, width, 3) with this first pixel."""
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[0, 0] = color
    return picture


class FakeModel:
    """Takes ``fixed_ms`` a batch and ``each_ms`` a picture.

    Args:
        asynchronous: whether it computes beside the thread that calls it, as a GPU does.
    """

    def __init__(self, connection: redis.Redis, fixed_ms: float, each_ms: float, *, asynchronous: bool = False) -> None:
        self.connection = connection
        self.pool = ThreadPoolExecutor(1) if asynchronous else None
        self.fixed_ms = fixed_ms
        self.each_ms = each_ms

    def run_batch(self, tasks: Sequence[LoadedTask]) -> list[Result]:
        pictures = [loaded.pictures[0] for loaded in tasks]
        versions = ["newer" if tuple(picture[0, 0]) == NEWER else None for picture in pictures]
        made = self._inverted(pictures)
        return [Result([picture], version=version) for picture, version in zip(made, versions, strict=True)]

    def begin(self, tasks: Sequence[LoadedTask]) -> Future[list[Result]] | None:
        return self.pool.submit(self.run_batch, tasks) if self.pool else None

    def run_in_steps(self, task: LoadedTask) -> Generator[Step]:
        """A long job's pictures, one by one; of a picture in tiles the picture, with the last of its ``TILES``."""
        if task.task.tiled:
            for n in range(1, TILES + 1):
                made = self._inverted(task.pictures)
                yield Step(made if n == TILES else [], done=n / TILES)
            return
        for n in range(task.task.generated):
            yield Step(self._inverted(task.pictures[:1]), done=(n + 1) / task.task.generated)

    def loaded(self) -> list[str]:
        return ["fake"]

    def usable(self) -> bool:
        return True

    def _inverted(self, pictures: list[Picture]) -> list[Picture]:
        if takes_ms := self.fixed_ms + self.each_ms * len(pictures):  # sleeping for 0 s takes some 60 µs
            time.sleep(takes_ms / 1000)
        for picture in pictures:
            color = tuple(picture[0, 0])
            if color == KILLS:
                os.kill(os.getpid(), signal.SIGKILL)
            if color == HUGE:
                np.ones(4 << 30, np.uint8)
            if color == RAISES:
                raise RuntimeError("this picture always fails")
            while color == HELD and not self.connection.exists(GO):
                time.sleep(0.01)
        return [255 - picture for picture in pictures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Work until SIGTERM. ``arguments`` None: those of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("redis_url")
    parser.add_argument("--fixed-ms", type=float, default=0)
    parser.add_argument("--each-ms", type=float, default=0)
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--batch-wait-ms", type=float, default=5)
    parser.add_argument("--asynchronous", action="store_true")
    parser.add_argument("--json-log", action="store_true")
    parser.add_argument("--memory-mb", type=int)
    parser.add_argument("--max-job-s", type=float, default=MAX_JOB_S)
    given = parser.parse_args(arguments)
    if given.memory_mb is not None:
        limit_memory(given.memory_mb)
    if given.json_log:
        logs.configure("json")
    logging.basicConfig(level=logging.WARNING)
    connection = connect(given.redis_url, patience_s=30)
    model = FakeModel(connection, given.fixed_ms, given.each_ms, asynchronous=given.asynchronous)
    tracer = tracer_of("doppel-worker")
    InferenceWorker(
        connection,
        model,
        device="none",
        max_batch=given.max_batch,
        batch_wait_ms=given.batch_wait_ms,
        result_ttl_s=600,
        tracer=tracer,
        max_job_s=given.max_job_s,
    ).run()
    tracer.close()


if __name__ == "__main__":
    main()
