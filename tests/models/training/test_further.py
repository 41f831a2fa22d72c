"""Runs that go on after their end, elsewhere, or for a given time."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from models.errors import DatasetError, Invalid
from models.store.options import CycleGANOptions, StarGANOptions
from models.store.run_changes import add_change, check_length, read_changes, with_change
from models.store.run_status import RunState, read_status
from models.training import pace
from models.training.attempt import attempt
from models.training.cyclegan import CycleGANTrainer
from models.training.pace import Pace
from tests.models.training.runs import fingerprint, steps, train_here, write_run
from tests.training import CYCLEGAN, STARGAN, add_dataset

PICTURES = 6  # in each domain
SHORT = {name: value for name, value in CYCLEGAN.items() if name not in ("epochs", "epochs_decay")}


class Killed(BaseException):
    """Ends an attempt as a signal would that leaves it no time to write how it ended."""


def train_until(run, step):
    """Train, and break off after a step."""

    def look(done, total_steps, losses):
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        attempt(run.path, on_progress=look, should_stop=lambda: False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return add_dataset(tmp_path_factory.mktemp("data"))


def make_run(path, dataset, **options):
    return write_run(path, CycleGANOptions(dataset=dataset, device="cpu", **(SHORT | options)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    """A run of 12 steps at the full rate and 6 over which it fell, as it was left; copy it."""
    run = make_run(tmp_path_factory.mktemp("runs") / "finished", dataset, epochs=2, epochs_decay=1)
    assert train_here(run) is RunState.SUCCEEDED
    return run


def copy(run, path):
    shutil.copytree(run.path, path)
    return type(run)(path)


def rates(run, monkeypatch):
    """The learning rate of each step that is trained now."""
    found = {}
    step = CycleGANTrainer.step

    def noted(self, batch, progress):
        losses = step(self, batch, progress)
        found[progress + 1] = self._optimizer_g.param_groups[0]["lr"]
        return losses

    monkeypatch.setattr(CycleGANTrainer, "step", noted)
    assert train_here(run) is RunState.SUCCEEDED
    return found


def test_a_complete_run_goes_on_at_the_rates_of_its_new_options(finished, tmp_path, monkeypatch):
    run = copy(finished, tmp_path / "run")
    add_change(run.path, 18, {"epochs": 4, "epochs_decay": 1})  # 24 steps at the full rate, 6 over which it falls
    found = rates(run, monkeypatch)
    assert found.keys() == set(range(19, 31))
    full = [2e-4] * 6
    assert list(found.values()) == pytest.approx([*full, *(2e-4 * (1 - n / 6) for n in range(6))])
    status = read_status(run.path)
    assert (status.step, status.total_steps, steps(run)) == (30, 30, list(range(1, 31)))
    assert [(change.step, change.options) for change in read_changes(run.path)] == [
        (18, {"epochs": 4, "epochs_decay": 1})
    ]
    assert (run.options().epochs, run.options().lr) == (4, 2e-4)


def test_trained_further_and_killed_it_ends_with_the_same_weights(finished, tmp_path):
    whole, killed = (copy(finished, tmp_path / name) for name in ("whole", "killed"))
    for run in (whole, killed):
        add_change(run.path, 18, {"epochs": 4})
    train_until(killed, 23)
    for run in (whole, killed):
        assert train_here(run) is RunState.SUCCEEDED
    assert steps(killed) == list(range(1, 31))
    assert fingerprint(killed) == fingerprint(whole) != fingerprint(finished)


def test_a_run_that_is_lengthened_in_time_is_the_longer_run(tmp_path, dataset):
    longer = make_run(tmp_path / "longer", dataset, epochs=2, epochs_decay=1)
    assert train_here(longer) is RunState.SUCCEEDED
    run = make_run(tmp_path / "run", dataset, epochs=1, epochs_decay=1)
    train_until(run, 6)
    add_change(run.path, 5, {"epochs": 2})  # before the rate has begun to fall
    assert train_here(run) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(longer)


@pytest.mark.parametrize("new", [{"total_iters": 9}, {"minutes": 5}])
def test_lambda_ds_stays_at_0_in_a_stargan_that_is_trained_further(dataset, new):
    before = StarGANOptions(dataset=dataset, **STARGAN)
    after = with_change(before, new)
    assert (after.ds_iter, after.lambda_ds) == (before.ds_iter, before.lambda_ds)
    assert "ds_iter" in after.model_dump()


def test_the_same_pictures_are_taken_wherever_they_are(finished, tmp_path, dataset):
    run = copy(finished, tmp_path / "run")
    pictures = shutil.copytree(dataset, tmp_path / "elsewhere")
    add_change(run.path, 18, {"epochs": 3, "dataset": str(pictures)})
    assert train_here(run) is RunState.SUCCEEDED
    (pictures / "train/red/0.png").rename(pictures / "train/red/first.png")
    with (pictures / "train/blue/3.png").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DatasetError) as told:
        train_here(run)
    for words in ("red/0.png is missing", "red/first.png is new", "blue/3.png is of another size"):
        assert words in str(told.value)


def test_minutes_become_a_length_that_stays(tmp_path, dataset, monkeypatch):
    measured = []

    def measure(*arguments):
        measured.append(arguments)
        return Pace(identity_step_s=1, step_s=100, sample_s=0, checkpoint_s=0, quality_s=0)

    monkeypatch.setattr(pace, "_measure", measure)
    run = make_run(tmp_path / "run", dataset, minutes=30)
    train_until(run, 8)
    total_steps = read_status(run.path).total_steps
    assert 10 < total_steps <= 18  # 1800 s, less what the start took, at 100 s each
    assert train_here(run) is RunState.SUCCEEDED
    assert (steps(run)[-1], len(measured)) == (total_steps, 1)
    half = total_steps // 2
    length = {"epochs": (total_steps - half) / PICTURES, "epochs_decay": half / PICTURES}
    assert run.options().model_dump(include={"minutes", *length}) == {"minutes": None, **length}
    plain = make_run(tmp_path / "plain", dataset, **length)
    assert train_here(plain) is RunState.SUCCEEDED
    assert fingerprint(run) == fingerprint(plain)
    add_change(run.path, total_steps, {"minutes": 10})
    assert train_here(run) is RunState.SUCCEEDED
    assert total_steps + 3 < read_status(run.path).total_steps <= total_steps + 6


@pytest.mark.parametrize(("chosen", "ds_iter"), [({}, 40 - 3), ({"ds_iter": 7}, None)])
def test_a_stargans_minutes_are_the_time_in_which_its_diversity_loss_goes(
    tmp_path, dataset, monkeypatch, chosen, ds_iter
):
    monkeypatch.setattr(pace, "_measure", lambda *arguments: Pace(10, 10, 0, 0, 0))
    options = {name: value for name, value in STARGAN.items() if name != "total_iters"} | chosen
    run = write_run(
        tmp_path / "run", StarGANOptions(dataset=dataset, device="cpu", minutes=7, identity_steps=3, **options)
    )
    length = pace.length_within(run, run.options(), first_step=2, seconds_left=lambda: 405.0, should_stop=lambda: False)
    assert length == {"total_iters": 42} | ({"ds_iter": ds_iter} if ds_iter else {})


@pytest.mark.parametrize(("device", "slow"), [("cpu", 3), ("cuda", 4)])
def test_steps_that_warm_up_are_not_timed(tmp_path, dataset, monkeypatch, device, slow):
    """On a GPU the fourth is the one that is recorded."""
    clock, done = [0.0], []

    def step(batch, progress):
        done.append(batch)
        clock[0] += 100 if len(done) <= slow else 1
        return {}

    planned = SimpleNamespace(
        trainer=SimpleNamespace(step=step, state_dict=dict),
        batches=lambda first, last: (n for n in range(first, last)),
        device=torch.device(device),
        held_out=[],
        pictures=PICTURES,
    )
    monkeypatch.setattr(pace, "plan", lambda options: planned)
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(pace, "_spent_s", lambda call: 0)
    run = make_run(tmp_path / "run", dataset, minutes=30)
    length = pace.length_within(run, run.options(), first_step=0, seconds_left=lambda: 600, should_stop=lambda: False)
    assert length == {"epochs": 300 / PICTURES, "epochs_decay": 300 / PICTURES}


def test_the_first_steps_are_timed(tmp_path, dataset):
    """Nothing in place of the clock: one step at least is done, and nothing of the trial is left."""
    run = make_run(tmp_path / "run", dataset, minutes=0.001, identity_steps=1)
    assert train_here(run) is RunState.SUCCEEDED
    reached = read_status(run.path).step
    assert reached >= 1
    assert run.options().minutes is None
    assert (run.options().epochs + run.options().epochs_decay) * PICTURES == pytest.approx(reached)
    assert not list(run.path.glob(".pace-*"))


def test_samples_checkpoints_and_measurements_count():
    options = CycleGANOptions(
        dataset="none", sample_every=10, save_every=20, quality_every=2, identity_steps=30, minutes=1
    )
    found = Pace(identity_step_s=0.5, step_s=2, sample_s=5, checkpoint_s=10, quality_s=20)

    def spent_s(first, total):
        spent = 0.0
        for step in range(first + 1, total + 1):
            spent += 0.5 if step <= 30 else 2
            spent += 5 * (step % 10 == 0) + 10 * (step % 20 == 0) + 20 * (step % 40 == 0)
        return spent + 5 + 10 + 20  # at the last step

    for seconds, first in ((60, 0), (600, 0), (6000, 0), (6000, 400)):
        total = first + found.steps_within(seconds, options, first)
        assert spent_s(first, total) == pytest.approx(seconds, abs=35)
    assert found.steps_within(1, options, 0) == 1


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"lr": 1e-3, "epochs": 5}, "lr: can't change"),
        ({"total_iters": 5}, "total_iters: can't change"),
        ({"minutes": 3, "epochs": 4}, "minutes, epochs"),
    ],
)
def test_what_a_run_cannot_be_resumed_with(dataset, new, words):
    before = CycleGANOptions(dataset=dataset, **(SHORT | {"epochs": 2, "epochs_decay": 1}))
    with pytest.raises(Invalid, match=words):
        with_change(before, new)


def test_a_length_that_is_reached_already_is_refused(dataset):
    options = CycleGANOptions(dataset=dataset, **(SHORT | {"epochs": 2, "epochs_decay": 1}))
    check_length(options, 17, 18)
    with pytest.raises(Invalid, match=r"has done 18 steps.* count from its first step.* epochs 13 and"):
        check_length(options, 18, 18)
