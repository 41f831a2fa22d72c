"""What the command says, in one line, when something about the machine or the settings is not as it should be."""

import os
import socket
import subprocess
from importlib.metadata import version

import pytest

from app import cli
from tests.processes import ROOT
from worker.supervisor import role_command


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("DOPPEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DOPPEL_PORT", "0")
    (tmp_path / "file").touch()


def complaint(capsys, *arguments):
    """Exit status and the one line on standard error."""
    status = cli.main([*arguments])
    (line,) = capsys.readouterr().err.splitlines()
    return status, line


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"doppel {version('doppel')}\n")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DOPPEL_PORT", "eight thousand"),
        ("DOPPEL_PORT", "65536"),
        ("DOPPEL_REDIS_URL", "localhost:6379"),
        ("DOPPEL_REDIS_URL", "redis://localhost:6379/jobs"),
        ("DOPPEL_ROOT_PATH", "/two words"),
        ("DOPPEL_DATA_DIR", "~nobody-of-this-name/doppel"),
        ("DOPPEL_MAX_UPLOAD_MB", "0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(monkeypatch, capsys, variable, value):
    monkeypatch.setenv(variable, value)
    status, line = complaint(capsys, "serve")
    assert status == 2
    assert line.startswith(f"doppel: {variable}: ")


def test_an_option_comes_before_its_variable(monkeypatch, capsys):
    monkeypatch.setenv("DOPPEL_PORT", "8000")
    monkeypatch.setenv("DOPPEL_ALLOW_ANONYMOUS", "1")
    assert complaint(capsys, "serve", "--port", "65536")[1].startswith("doppel: --port: ")
    assert "no-host.invalid:0" in complaint(capsys, "api", "--host", "no-host.invalid", "--port", "0")[1]


@pytest.mark.parametrize("role", ["serve", "api", "trainer", "preparer"])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none"])
def test_a_data_folder_that_can_not_be_used_is_named(monkeypatch, capsys, tmp_path, role, place):
    monkeypatch.setenv("DOPPEL_DATA_DIR", str(tmp_path / place))
    status, line = complaint(capsys, role)
    assert status == 1
    assert str(tmp_path / place) in line
    assert "DOPPEL_DATA_DIR" in line


@pytest.mark.parametrize("role", ["serve", "api"])
def test_a_port_in_use_is_named(capsys, role):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, line = complaint(capsys, role, "--port", str(port))
    assert status == 1
    assert f"127.0.0.1:{port}" in line
    assert "DOPPEL_PORT" in line


def test_a_prefix_that_is_also_a_path_of_the_api_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("DOPPEL_ROOT_PATH", "/models")
    monkeypatch.setenv("DOPPEL_REDIS_URL", "redis://127.0.0.1:1/0")
    assert cli.main(["api"]) == 1
    assert "'/models' is the beginning of the API's own paths" in capsys.readouterr().err


def test_a_variable_that_is_empty_is_unset(monkeypatch, tmp_path):
    for name in ("DATA_DIR", "PORT", "REDIS_URL", "ROOT_PATH", "PRELOAD"):
        monkeypatch.setenv(f"DOPPEL_{name}", "")
    monkeypatch.chdir(tmp_path)
    settings = cli.Settings()
    assert (settings.data_dir, settings.port, settings.redis_url, settings.root_path) == (
        tmp_path / "var",
        8000,
        None,
        "",
    )
    assert settings.preload == []


def test_a_command_works_in_any_folder_and_locale(tmp_path):
    """The folder has modules named as some of ours and Python's; the locale has no letter but those of ASCII."""
    for name in ("queue.py", "models/__init__.py", "app/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    weights = ROOT / "weights" / "style_monet-lite" / "weights.safetensors"
    (tmp_path / "größe.safetensors").symlink_to(weights)
    command = [*role_command("check"), "größe.safetensors"]
    answer = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
