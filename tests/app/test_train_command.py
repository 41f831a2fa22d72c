"""``doppel train`` as a command: started, refused, stopped in every way, and resumed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

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


def typed(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=120)


def test_a_run_is_trained_and_a_folder_takes_one_only(pictures, tmp_path):
    output = tmp_path / "run"
    answer = typed("cyclegan", pictures, "-o", output, *SMALL, "--epochs=0.5")
    assert answer.returncode == 0, answer.stderr
    assert "the run has succeeded" in answer.stderr
    assert read_status(output).status is RunState.SUCCEEDED
    again = typed("cyclegan", pictures, "-o", output, *SMALL)
    assert again.returncode == 2
    assert "--resume" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "the terminal is closed"])
def test_a_signal_saves_a_checkpoint(pictures, tmp_path, number):
    output = tmp_path / "run"
    run = RunFolder(output)
    with trained("cyclegan", pictures, "-o", output, *ENDLESS) as training:
        eventually(run.metrics_file.exists)
        os.killpg(training.pid, number)
        assert training.wait(timeout=120) == 0
    status = read_status(output)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    assert not is_locked(output)


def test_a_stopped_run_is_resumed_with_its_own_pictures_wherever_they_are(pictures, tmp_path):
    output = tmp_path / "run"
    run = RunFolder(output)
    with trained("cyclegan", pictures, "-o", output, *ENDLESS) as training:
        eventually(run.metrics_file.exists)
        training.terminate()
        assert training.wait(timeout=120) == 0
    status = read_status(output)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    assert not is_locked(output)
    refused = typed("cyclegan", pictures, "-o", output, "--resume", "--lr=1")
    assert (refused.returncode, "lr: can't change when a run is resumed" in refused.stderr) == (2, True)
    assert "of another family, cyclegan" in typed("stargan", pictures, "-o", output, "--resume").stderr
    shutil.copy(pictures / "train/red/0.png", pictures / "train/red/more.png")
    assert "are not those that the run began with" in typed("cyclegan", pictures, "-o", output, "--resume").stderr
    (pictures / "train/red/more.png").unlink()
    pictures, output = pictures.rename(tmp_path / "elsewhere"), output.rename(tmp_path / "moved")
    run = RunFolder(output)
    with trained("cyclegan", pictures, "-o", output, "--resume", "--sample-every=7") as training:
        eventually(lambda: read_status(output).step > status.step)
        training.terminate()
        assert training.wait(timeout=120) == 0
    assert [record["step"] for record in run.metrics()] == list(range(1, read_status(output).step + 1))
    assert (run.options().sample_every, run.options().dataset) == (7, pictures.resolve())


def test_several_processes_stop_with_a_checkpoint(pictures, tmp_path):
    output = tmp_path / "run"
    run = RunFolder(output)
    several = [*SMALL, "--gpus=2", "--batch-size=2", "--epochs=100000", "--save-every=100000"]
    run.path.mkdir()
    run.request_stop()  # left behind by a process that was killed
    with trained("cyclegan", pictures, "-o", output, *several) as training:
        eventually(lambda: run.metrics_file.exists() and len(list(run.metrics())) > 3)
        os.killpg(training.pid, signal.SIGINT)
        assert training.wait(timeout=120) == 0
    status = read_status(output)
    assert (status.status, status.last_checkpoint) == (RunState.STOPPED, status.step)
    assert not run.stop_requested


def test_under_nohup_it_outlives_its_terminal(pictures, tmp_path):
    output = tmp_path / "run"
    run = RunFolder(output)
    arguments = ["cyclegan", pictures, "-o", output, *SMALL, "--epochs=100000"]
    with trained(*arguments, hangup=signal.SIG_IGN) as training:
        eventually(run.metrics_file.exists)
        os.killpg(training.pid, signal.SIGHUP)
        reached = len(list(run.metrics()))
        eventually(lambda: len(list(run.metrics())) > reached + 3)
        training.terminate()
        assert training.wait(timeout=120) == 0


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
        (["--init-from=nowhere.safetensors"], "nowhere.safetensors"),
        (["--init-from=/dev/null"], "/dev/null can't be read: it ends too early"),
    ],
)
def test_a_refused_run_leaves_no_folder(pictures, tmp_path, arguments, words):
    output = tmp_path / "run"
    answer = typed("cyclegan", pictures, "-o", output, *SMALL, *arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not output.exists()


@pytest.mark.parametrize("output", ["", "file", "file/run", "x" * 300], ids=["none", "a file", "in a file", "too long"])
def test_an_impossible_folder_is_refused(pictures, tmp_path, output):
    (tmp_path / "file").touch()
    answer = typed("cyclegan", pictures, "-o", tmp_path / output if output else "", *SMALL)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_missing_pictures_are_refused(tmp_path):
    answer = typed("cyclegan", tmp_path / "nowhere", "-o", tmp_path / "run")
    assert (answer.returncode, answer.stderr) == (2, f"doppel: {tmp_path / 'nowhere'} is not a folder\n")


def test_help_shows_choices_and_defaults():
    text = " ".join(typed("cyclegan", "--help").stdout.split())
    assert "the generator that starts from init_from, if that is safetensors; AtoB or BtoA; default: AtoB" in text
    assert "Adam's learning rate; default: 0.0002" in text
