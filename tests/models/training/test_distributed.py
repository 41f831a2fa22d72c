"""Two processes that train together are held to one process with the same batches."""

import contextlib
import json

import pytest

from models.store.options import CUTOptions, CycleGANOptions, StarGANOptions
from models.store.run_status import RunState, read_status
from models.training.launch import command
from tests.forks import fork
from tests.models.spread import losses, print_losses
from tests.models.training.runs import steps, write_run
from tests.processes import children, eventually, free_port, process, running
from tests.training import CUT, CYCLEGAN, ENDLESS, STARGAN, add_dataset

STEPS = 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return add_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def kinds(dataset, tmp_path_factory):
    """The options of a run of each kind, in a file."""
    place = {"dataset": dataset, "device": "cpu"}
    unpaired = place | {"batch_size": 2}
    options = {
        "cyclegan": CycleGANOptions(**(CYCLEGAN | unpaired | {"batch_size": 4})),
        "projected": CycleGANOptions(**(CYCLEGAN | unpaired), discriminator="projected"),
        "cut": CUTOptions(**(CUT | unpaired | {"patches": 10_000})),  # all, since each process draws its own
        "stargan_v2": StarGANOptions(**(STARGAN | place | {"batch_size": 4, "total_iters": STEPS})),
    }
    folder = tmp_path_factory.mktemp("options")
    paths = {kind: folder / f"{kind}.json" for kind in options}
    for kind, path in paths.items():
        path.write_text(options[kind].model_dump_json())
    return paths


def ranks():
    """What torchrun tells each of two processes, by environment variables."""
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]


@pytest.fixture(scope="module")
def spread(kinds, tmp_path_factory):
    """The losses of the runs in two processes that train together: kind → a dict for each step."""
    outputs = [tmp_path_factory.mktemp("spread") / name for name in ("first", "second")]
    with contextlib.ExitStack() as both:
        processes = [
            both.enter_context(fork(print_losses, STEPS, *kinds.values(), output=output, env=env))
            for output, env in zip(outputs, ranks(), strict=True)
        ]
        assert [process.wait(300) for process in processes] == [0, 0], processes[0].printed
    lines = [line for line in outputs[0].read_text().splitlines() if line.startswith("[")]
    return dict(zip(kinds, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("kind", ["cyclegan", "projected", "cut", "stargan_v2"])
def test_two_processes_have_the_losses_of_one(kind, kinds, spread):
    one, two = losses(kinds[kind], STEPS), spread[kind]
    assert len(one) == len(two) == STEPS
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, abs=1e-4)


def test_told_to_end_with_all_that_they_started_they_save_a_checkpoint(dataset, tmp_path):
    endless = CYCLEGAN | ENDLESS | {"batch_size": 2}
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=dataset, gpus=2, loader_processes=1, **endless))
    # torchrun passes the signal on to each process with those that read its pictures.
    with process(*command(run.path, "--device", "cpu")) as torchrun:
        eventually(lambda: len(steps(run)) > 3)
        torchrun.terminate()
        torchrun.wait(timeout=120)
    status = read_status(run.path)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    eventually(lambda: running(str(run.path)) is None)


def test_a_torchrun_that_is_killed_takes_all_along(dataset, tmp_path):
    options = CycleGANOptions(dataset=dataset, device="cpu", gpus=2, **(CYCLEGAN | ENDLESS | {"batch_size": 2}))
    run = write_run(tmp_path / "run", options)
    with process(*command(run.path)) as torchrun:
        eventually(lambda: len(children(torchrun.pid)) == 2)
        torchrun.kill()
        torchrun.wait()
    eventually(lambda: running(str(run.path)) is None)
