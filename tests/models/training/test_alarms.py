"""Alarms, each by a run that was made to show it."""

import errno
import json
import os
import resource

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import CannotWrite
from models.store.options import CycleGANOptions
from models.store.run_folder import RunFolder
from models.store.run_status import RunState, RunStatus, now, read_status, write_status
from models.training.alarms import WINNING_STEPS, DiscriminatorWatch, of_translations
from models.training.attempt import attempt
from models.training.checkpoints import load_state
from models.training.launch import CANNOT_WRITE
from models.training.reporter import Reporter
from tests.forks import fork
from tests.models.training.runs import kill_after, steps, train, train_here, write_run
from tests.training import CYCLEGAN, add_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return add_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def copier(tmp_path_factory, dataset):
    """A run whose generators leave pictures about as they are."""
    options = CYCLEGAN | {"ngf": 8, "identity_steps": 150, "epochs": 25, "lr": 2e-3, "sample_every": 200}
    options |= {"save_every": 1000}
    run = write_run(tmp_path_factory.mktemp("runs") / "copier", CycleGANOptions(dataset=dataset, **options))
    assert train_here(run) is RunState.SUCCEEDED
    return run


def begun_from(copier, tmp_path, dataset, change):
    """A run that begins with the copier's networks after ``change`` was done to its g_ab, and takes one small step."""
    state = load_state(copier.checkpoints()[-1])
    change(state["trainer"]["g_ab"])
    torch.save(state, tmp_path / "changed.pt")
    options = CYCLEGAN | {"ngf": 8, "epochs": 1 / 6, "lr": 1e-9, "init_from": tmp_path / "changed.pt"}
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=dataset, **options))
    assert train_here(run) is RunState.SUCCEEDED
    return {(alarm.kind, alarm.subject) for alarm in read_status(run.path).alarms}


def last_layer(state):
    keys = sorted((key for key in state), key=lambda key: int(key.split(".")[1]))
    return [state[key] for key in keys[-2:]]


def test_a_run_that_goes_well_raises_none(copier):
    assert read_status(copier.path).alarms == []


def test_colour_inversion(copier, tmp_path, dataset):
    def invert(state):
        for tensor in last_layer(state):
            tensor.neg_()

    assert begun_from(copier, tmp_path, dataset, invert) == {("colour inversion", "blue → red")}


def test_collapse(copier, tmp_path, dataset):
    def forget(state):
        for tensor in last_layer(state):
            tensor.zero_()

    assert begun_from(copier, tmp_path, dataset, forget) == {("collapse", "blue → red")}


def test_a_discriminator_that_wins(tmp_path, dataset, monkeypatch):
    """Of generators of one channel that are to make noise of what is smooth, and care for their cycles alone."""
    monkeypatch.setattr("models.training.alarms.WINNING_STEPS", 20)  # so many show the same, and sooner
    root = add_dataset(tmp_path, "smooth to noise")
    rng = np.random.default_rng(0)
    for n in range(6):
        Image.fromarray(np.full((40, 40, 3), 40 * n, np.uint8)).save(root / "train" / "blue" / f"{n}.png")
        noise = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "train" / "red" / f"{n}.png")
    weak = {"ngf": 1, "ndf": 8, "lr": 1e-3, "epochs": 60, "load_size": 32, "sample_every": 1000, "save_every": 1000}
    weak |= {"lambda_a": 1e4, "lambda_b": 1e4, "lambda_identity": 0}
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=root, **(CYCLEGAN | weak)))

    def won():
        return ("discriminator wins", "d_b") in [(alarm.kind, alarm.subject) for alarm in read_status(run.path).alarms]

    attempt(run.path, on_progress=lambda *_: None, should_stop=won)  # or it goes on for nothing
    assert won()
    assert steps(run)[-1] > 20


def test_a_loss_that_is_not_finite(tmp_path, dataset):
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=dataset, **(CYCLEGAN | {"lr": 1e30})))
    assert train(run)[0] == 3
    status = read_status(run.path)
    assert status.status is RunState.FAILED
    assert [alarm.kind for alarm in status.alarms] == ["not finite"]


def test_a_disk_without_room_stops_the_run_with_its_last_checkpoint_whole(tmp_path, dataset):
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=dataset, **(CYCLEGAN | {"epochs": 1, "save_every": 3})))
    assert train_here(run) is RunState.SUCCEEDED
    options = run.options().model_copy(update={"epochs": 3})
    run.options_file.write_text(options.model_dump_json())
    # No file may become longer than half a checkpoint.
    assert train(run, file_bytes=run.checkpoints()[-1].stat().st_size // 2)[0] == CANNOT_WRITE
    status = read_status(run.path)
    assert (status.status, [alarm.kind for alarm in status.alarms]) == (RunState.FAILED, ["disk"])
    assert run.checkpoints()[-1].stem == "000006"
    assert load_state(run.checkpoints()[-1])["step"] == 6
    assert not list(run.path.rglob(".*"))  # nothing half-written
    assert train_here(run) is RunState.SUCCEEDED
    assert read_status(run.path).step == 18


@pytest.mark.parametrize(
    "unwritten",
    [
        "models.training.attempt.record_pictures",
        "models.training.reporter.SummaryWriter",
        "models.store.run_folder.RunFolder.append_metrics",
        "models.store.run_folder.RunFolder.save_sample",
        "models.training.loop.save_checkpoint",
    ],
)
def test_whatever_finds_no_room_the_last_status_takes_that_of_the_ballast(tmp_path, dataset, monkeypatch, unwritten):
    often = {"sample_every": 1, "save_every": 1}
    run = write_run(tmp_path / "run", CycleGANOptions(dataset=dataset, **(CYCLEGAN | often)))
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    ballast = run.path / "ballast"
    ballast_bytes = []  # when the disk was found to be full

    def write_in_vain(*arguments, **options):
        ballast_bytes.append(ballast.stat().st_size)
        raise full

    def write_if_there_is_room(folder, status):
        if ballast_bytes and ballast.exists():
            raise full
        write_status(folder, status)

    monkeypatch.setattr(unwritten, write_in_vain)
    monkeypatch.setattr("models.training.reporter.write_status", write_if_there_is_room)
    with pytest.raises(CannotWrite, match=r"The disk is full .* Free some space on the server, then resume"):
        train_here(run)
    status = read_status(run.path)
    assert (status.status, [alarm.kind for alarm in status.alarms]) == (RunState.FAILED, ["disk"])
    assert "disk is full" in status.error
    assert ballast_bytes == [256 << 10]
    assert not ballast.exists()


def write_curves_without_room(folder):
    reporter = Reporter(folder, RunStatus(created_at=now(), updated_at=now()), batch_size=1)
    reporter.begin(0, torch.device("cpu"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for step in range(10_000):
        reporter.stepped(step, {"g_ab_adv": 0.5}, {})


def test_curves_that_find_no_room_are_an_error_and_no_wait(tmp_path):
    output = tmp_path / "printed"
    with fork(write_curves_without_room, tmp_path, output=output) as process:
        assert process.wait(timeout=120) == 1
        assert "\nOSError: [Errno 27]" in process.printed  # TensorBoard's thread prints one, too, maybe in between


def curve(run):
    """The points of the curve g_ab_adv as TensorBoard shows them: (step, loss), in order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("g_ab_adv")]


def test_curves_of_a_resumed_run_have_every_step_once(tmp_path, dataset):
    options = CycleGANOptions(dataset=dataset, **(CYCLEGAN | {"save_every": 6}))
    whole, killed = write_run(tmp_path / "whole", options), write_run(tmp_path / "killed", options)
    assert train_here(whole) is RunState.SUCCEEDED
    kill_after(killed, 8)
    assert train(killed)[0] == 0
    assert curve(killed) == curve(whole)
    assert [step for step, _ in curve(whole)] == list(range(1, 19))


def test_a_discriminator_wins_only_after_a_while():
    watch = DiscriminatorWatch({"d_b": {"D": 0.25}}, since={"a name of earlier versions": 3})
    said = [list(watch.look({"D": 0.001}, step)) for step in range(2 * WINNING_STEPS)]
    assert said[:WINNING_STEPS] == [[]] * WINNING_STEPS
    assert said[WINNING_STEPS][0].kind == "discriminator wins"
    assert list(watch.look({"D": 0.2}, 500)) == []
    assert watch.since == {}


def test_a_discriminator_that_was_winning_when_its_run_was_stopped_still_is(tmp_path, dataset):
    def run_of(name, epochs):
        options = CYCLEGAN | {"lr": 1e-9, "epochs": epochs, "save_every": 1000, "sample_every": 1000}
        return write_run(tmp_path / name, CycleGANOptions(dataset=dataset, **options))

    run = run_of("run", epochs=1)
    assert train_here(run) is RunState.SUCCEEDED
    state = load_state(run.checkpoints()[-1])
    assert state["winning_since"] == {}
    state |= {"winning_since": {"d_b": 6 - WINNING_STEPS}, "smoothed": state["smoothed"] | {"d_b": 1e-3}}
    torch.save(state, run.checkpoints()[-1])
    run.options_file.write_text(run.options().model_copy(update={"epochs": 2}).model_dump_json())
    assert train_here(run) is RunState.SUCCEEDED
    assert [(alarm.kind, alarm.step) for alarm in read_status(run.path).alarms] == [("discriminator wins", 7)]


def test_pictures_without_contrast_are_no_inversion():
    x = torch.rand(4, 3, 8, 8) * 2 - 1
    grey = x * 1e-5
    assert [alarm.kind for alarm in of_translations({(1, 0): (x, grey)}, "AB", 1)] == ["collapse"]
    assert list(of_translations({(1, 0): (x, x.clone())}, "AB", 1)) == []
    assert [alarm.kind for alarm in of_translations({(1, 0): (x, -x)}, "AB", 1)] == ["colour inversion"]


@pytest.mark.parametrize("count", [1, 3])
def test_inputs_that_are_all_the_same_are_no_collapse(count):
    x = (torch.rand(1, 3, 8, 8) * 2 - 1).expand(count, -1, -1, -1)
    assert list(of_translations({(0, 1): (x, x.clone())}, "AB", 1)) == []


def test_metrics_of_a_run_folder_leave_out_the_line_being_written(tmp_path):
    run = RunFolder(tmp_path)
    run.append_metrics({"step": 1, "loss": 0.5})
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({"step": 2}))
    assert [record["step"] for record in run.metrics()] == [1]
