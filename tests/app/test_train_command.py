"""``doppel train`` as a command: started, refused, stopped in every way, and resumed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

from app import cli
from models.store.run_folder import RunFolder
from models.store.run_lock import is_locked
from models.store.run_status import RunState, read_status
from tests.processes import ROOT, child, eventually, process
from tests.training import CYCLEGAN, add_dataset

SMALL = [f"--{name.replace('_', '-')}={value}" for name, value in CYCLEGAN.items()] + ["--device=cpu"]
ENDLESS = [*SMALL, "--epochs=100000", "--save-every=100000"]


@pytest.fixture
def pictures(tmp_path):
    return add_dataset(tmp_path)


@contextlib.contextmanager
def trained(*arguments, hangup=signal.SIG_DFL):
    """A training in a session of its own with the disposition ``hangup`` for SIGHUP; killed in the end."""
    before = signal.signal(signal.SIGHUP, hangup)  # children inherit it
    try:
        training = subprocess.Popen(command(*arguments), start_new_session=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        yield training
    finally:
        training.kill()
        training.wait()


def command(*arguments):
    return [sys.executable, "-m", "app.cli", "train", *map(str, arguments)]


@pytest.fixture
def typed(capfd):
    """Types a command, which runs in this process but for the training: its exit status, and what it printed."""
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in handled]

    def typed(*arguments):
        try:
            status = cli.main(["train", *map(str, arguments)])
        except SystemExit as ended:
            status = ended.code
        return status, "".join(capfd.readouterr())

    yield typed
    for number, handler in zip(handled, handlers, strict=True):
        signal.signal(number, handler)


def test_a_run_is_trained_and_a_folder_takes_one_only(pictures, tmp_path, typed):
    output = tmp_path / "run"
    status, printed = typed("cyclegan", pictures, "-o", output, *SMALL, "--augmentations=color,blur")
    assert (status, "--augmentations: Input should be 'color', 'translation' or 'cutout'" in printed) == (2, True)
    chosen = ["--epochs=0.5", "--augmentations=color,cutout"]
    status, printed = typed("cyclegan", pictures, "-o", output, *SMALL, *chosen)
    assert status == 0, printed
    assert RunFolder(output).options().augmentations == ["color", "cutout"]
    assert "the run has succeeded" in printed
    assert read_status(output).status is RunState.SUCCEEDED
    status, printed = typed("cyclegan", pictures, "-o", output, *SMALL)
    assert (status, "--resume" in printed) == (2, True)


@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_is_closed_saves_a_checkpoint_and_under_nohup_ctrl_c_does(pictures, tmp_path, nohup):
    output = tmp_path / "run"
    run = RunFolder(output)
    arguments = ["cyclegan", pictures, "-o", output, *ENDLESS]
    with trained(*arguments, hangup=signal.SIG_IGN if nohup else signal.SIG_DFL) as training:
        eventually(run.metrics_file.exists)
        os.killpg(training.pid, signal.SIGHUP)
        if nohup:  # it goes on
            reached = len(list(run.metrics()))
            eventually(lambda: len(list(run.metrics())) > reached + 3)
            os.killpg(training.pid, signal.SIGINT)
        assert training.wait(timeout=120) == 0
    status = read_status(output)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    assert not is_locked(output)


def test_a_stopped_run_is_resumed_with_its_own_pictures_wherever_they_are(pictures, tmp_path, typed):
    output = tmp_path / "run"
    run = RunFolder(output)
    with trained("cyclegan", pictures, "-o", output, *ENDLESS) as training:
        eventually(run.metrics_file.exists)
        training.terminate()
        assert training.wait(timeout=120) == 0
    status = read_status(output)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    assert not is_locked(output)
    refused, printed = typed("cyclegan", pictures, "-o", output, "--resume", "--lr=1")
    assert (refused, "lr: can't change when a run is resumed" in printed) == (2, True)
    assert "of another family, cyclegan" in typed("stargan", pictures, "-o", output, "--resume")[1]
    shutil.copy(pictures / "train/red/0.png", pictures / "train/red/more.png")
    assert "are not those that the run began with" in typed("cyclegan", pictures, "-o", output, "--resume")[1]
    (pictures / "train/red/more.png").unlink()
    pictures, output = pictures.rename(tmp_path / "elsewhere"), output.rename(tmp_path / "moved")
    run = RunFolder(output)
    with trained("cyclegan", pictures, "-o", output, "--resume", "--sample-every=7") as training:
        eventually(lambda: read_status(output).step > status.step)
        training.terminate()
        assert training.wait(timeout=120) == 0
    assert [record["step"] for record in run.metrics()] == list(range(1, read_status(output).step + 1))
    assert (run.options().sample_every, run.options().dataset) == (7, pictures.resolve())


def test_several_processes_leave_what_one_does_and_stop_with_a_checkpoint(pictures, tmp_path):
    output = tmp_path / "run"
    run = RunFolder(output)
    endless = ["--epochs=100000", "--save-every=100000", "--sample-every=2"]
    several = [*SMALL, "--gpus=2", "--batch-size=2", *endless]
    run.path.mkdir()
    run.request_stop()  # left behind by a process that was killed
    with trained("cyclegan", pictures, "-o", output, *several) as training:
        eventually(lambda: run.metrics_file.exists() and len(list(run.metrics())) > 3)
        os.killpg(training.pid, signal.SIGINT)
        assert training.wait(timeout=120) == 0
    status = read_status(output)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    assert [record["step"] for record in run.metrics()] == list(range(1, status.step + 1))
    assert run.samples()[0] == 2
    assert not run.stop_requested


def test_a_signal_during_the_start_leaves_nothing(pictures, tmp_path):
    output = tmp_path / "run"
    # However quick the machine is, the process that trains is still on its way when the signal comes.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif 'models.training' in sys.orig_argv:\n    time.sleep(600)\n"
    )
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with process(*command("cyclegan", pictures, "-o", output, *SMALL), env=env) as training:
        eventually(lambda: child(training.pid, "models.training"))
        training.send_signal(signal.SIGINT)
        assert training.wait(timeout=120) == 128 + signal.SIGTERM
    assert not output.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
def test_killed_it_takes_its_training_along(pictures, tmp_path):
    output = tmp_path / "run"
    with process(*command("cyclegan", pictures, "-o", output, *SMALL, "--epochs=100000")) as training:
        eventually(RunFolder(output).metrics_file.exists)
        training.kill()
        eventually(lambda: not is_locked(output))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image-size=512"], "load_size"),
        (["--lr=quick"], "--lr: "),
        (["--device=cuda:99"], "cuda"),
        (["--init-from=/dev/null"], "/dev/null can't be read: it ends too early"),
    ],
)
def test_a_refused_run_leaves_no_folder(pictures, tmp_path, arguments, words, typed):
    output = tmp_path / "run"
    status, printed = typed("cyclegan", pictures, "-o", output, *SMALL, *arguments)
    assert status == 2
    assert words in printed
    assert "Traceback" not in printed
    assert not output.exists()


@pytest.mark.parametrize("output", ["", "file", "file/run", "x" * 300], ids=["none", "a file", "in a file", "too long"])
def test_an_impossible_folder_is_refused(pictures, tmp_path, output, typed):
    (tmp_path / "file").touch()
    status, printed = typed("cyclegan", pictures, "-o", tmp_path / output if output else "", *SMALL)
    assert status == 2
    assert "Traceback" not in printed


def test_a_cut_is_trained_by_the_same_command(pictures, tmp_path, typed):
    status, printed = typed("cut", pictures, "-o", tmp_path / "run", "--recipe=SlowCUT")
    assert (status, "--recipe: " in printed, "FastCUT" in printed) == (2, True, True)


def test_missing_pictures_are_refused(tmp_path, typed):
    assert typed("cyclegan", tmp_path / "nowhere", "-o", tmp_path / "run") == (
        2,
        f"doppel: {tmp_path / 'nowhere'} is not a folder\n",
    )


def test_help_shows_choices_and_defaults(typed):
    text = " ".join(typed("cyclegan", "--help")[1].split())
    assert "the generator that starts from init_from, if that is safetensors; AtoB or BtoA; default: AtoB" in text
    assert "Adam's learning rate; default: 0.0002" in text
