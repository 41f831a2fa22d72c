"""Two processes that train together are held to one process with the same batches."""

import json
import os
import subprocess
import sys

import pytest

from models.store.options import CycleGANOptions, StarGANOptions
from models.store.run_status import RunState, read_status
from models.training.launch import command
from tests.models.spread import losses
from tests.models.training.runs import steps, write_run
from tests.processes import ROOT, children, eventually, running
from tests.training import CYCLEGAN, ENDLESS, STARGAN, add_dataset

STEPS = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return add_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def families(dataset, tmp_path_factory):
    """The options of a run of each family, in a file."""
    cyclegan = CycleGANOptions(dataset=dataset, device="cpu", **(CYCLEGAN | {"batch_size": 4, "epochs": 20}))
    stargan = StarGANOptions(dataset=dataset, device="cpu", **(STARGAN | {"batch_size": 4, "total_iters": STEPS}))
    folder = tmp_path_factory.mktemp("options")
    for options in (cyclegan, stargan):
        (folder / f"{options.family}.json").write_text(options.model_dump_json())
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def spread(families):
    """The losses of the families' runs in two processes that train together: family → a dict for each step."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "tests/models/spread.py", str(STEPS), *map(str, families.values())]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return dict(zip(families, map(json.loads, answer.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("family", ["cyclegan", "stargan_v2"])
def test_two_processes_have_the_losses_of_one(family, families, spread):
    one, two = losses(families[family], STEPS), spread[family]
    assert len(one) == len(two) == STEPS
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, abs=1e-4)


def test_told_to_end_with_all_that_they_started_they_save_a_checkpoint(dataset, tmp_path):
    endless = CYCLEGAN | ENDLESS | {"batch_size": 2}
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=dataset, gpus=2, loader_processes=1, **endless))
    # torchrun passes the signal on to each process with those that read its pictures.
    training = subprocess.Popen(command(run.path, "--device", "cpu"), stderr=subprocess.DEVNULL)
    eventually(lambda: len(steps(run)) > 3)
    training.terminate()
    training.wait(timeout=120)
    status = read_status(run.path)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    eventually(lambda: running(str(run.path)) is None)


def test_a_torchrun_that_is_killed_takes_all_along(dataset, tmp_path):
    options = CycleGANOptions(dataset=dataset, device="cpu", gpus=2, **(CYCLEGAN | ENDLESS | {"batch_size": 2}))
    run = write_run(tmp_path / "run", options)
    training = subprocess.Popen(command(run.path), stderr=subprocess.DEVNULL)
    eventually(lambda: len(children(training.pid)) == 2)
    training.kill()
    training.wait()
    eventually(lambda: running(str(run.path)) is None)


def test_a_run_of_two_processes_leaves_what_one_does(dataset, tmp_path):
    options = CycleGANOptions(dataset=dataset, device="cpu", gpus=2, **(CYCLEGAN | {"batch_size": 2}))
    run = write_run(tmp_path / "run", options)
    answer = subprocess.run(command(run.path), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert steps(run) == list(range(1, 10))
    status = read_status(run.path)
    assert (status.status, status.step, status.last_checkpoint) == (RunState.SUCCEEDED, 9, 9)
    assert run.samples() == [5, 9]
