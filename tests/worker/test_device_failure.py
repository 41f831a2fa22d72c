"""A device that fails for good, as a GPU does after some errors: every later call in its process fails, too."""

from concurrent.futures import Future

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer

from models.device import ServingDevice
from tests.fake_worker import FakeModel, first_pixel
from tests.processes import eventually, fake_worker
from worker import contract, inference_process
from worker.contract import Status, Task
from worker.errors import DeviceFailed


class FailingModel(FakeModel):
    """Its device fails at the first task.

    Args:
        how: in which call it shows.
    """

    def __init__(self, connection, how):
        super().__init__(connection, 0, 0)
        self.how = how
        self.failed = False
        self.calls = 0

    def _fail(self):
        self.failed = True
        self.calls += 1
        raise RuntimeError("an illegal memory access was encountered")

    def run_batch(self, tasks):
        self._fail()

    def begin(self, tasks):
        if self.how != "begun":
            return None
        pending = Future()
        pending.set_exception(RuntimeError("an illegal memory access was encountered"))
        self.failed = True
        return pending

    def run_in_steps(self, task):
        yield self._fail()

    def usable(self):
        return not self.failed


@pytest.mark.parametrize("how", ["run", "begun", "steps"])
def test_its_worker_hands_its_jobs_back_and_ends(queue, redis_url, settings, monkeypatch, signals, how):
    models = []

    def failing(*arguments, **options):
        models.append(FailingModel(queue.connection, how))
        return models[-1]

    monkeypatch.setattr(inference_process, "ResidentModels", failing)
    tasks = [Task(model="fake", height=32, width=32, tiled=how == "steps")] * (1 if how == "steps" else 2)
    jobs = [queue.submit(task, first_pixel((1, 2, 3)), decode_ms=1) for task in tasks]
    with pytest.raises(DeviceFailed, match="illegal memory access"):
        inference_process.run_worker(
            redis_url=redis_url,
            weights_dir=settings.weights_dir,
            data_dir=settings.data_dir,
            device="cpu",
            threads=1,
            max_batch=2,
            batch_wait_ms=0,
            result_ttl_s=60,
            resident_mb=1,
            preload=[],
        )
    assert models[0].calls <= 1  # no job is tried on a device that is gone
    assert [state.status for state in queue.states(jobs)] == [Status.QUEUED] * len(jobs)
    left = [Job.fetch(job, queue.connection, serializer=JSONSerializer).retries_left for job in jobs]
    assert left == [contract.MAX_TRIES - 2] * len(jobs)  # it may have been the picture that did it
    assert queue.workers(seen_within_s=60) == []
    with fake_worker(redis_url):
        eventually(lambda: all(state.status.ended for state in queue.states(jobs)))
    assert [state.status for state in queue.states(jobs)] == [Status.SUCCEEDED] * len(jobs)


def test_a_cpu_is_never_taken_for_failed():
    assert ServingDevice("cpu").is_usable()
