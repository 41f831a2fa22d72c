"""Every example in the README and docs/training.md runs as it stands, in a folder with the files that they name."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.archives import unpaired, zipped
from tests.pictures import decoded
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = README + (ROOT / "docs" / "training.md").read_text()
IMAGES = ROOT / "docs" / "images"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENTS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def client(served):
    """A client of the stack; no run of the examples goes on behind it."""
    _, client, _ = served
    yield client
    for run in client.get("/training").json():
        client.post(f"{run['links']['self']}/stop?force=true")


@pytest.fixture
def folder(tmp_path):
    shutil.copy(IMAGES / "sample-photo.jpg", tmp_path / "photo.jpg")
    shutil.copy(IMAGES / "sample-painting.jpg", tmp_path / "painting.jpg")
    (tmp_path / "pictures.zip").write_bytes(zipped(unpaired()))
    return tmp_path


def for_port(example, client):
    return example.replace("localhost:8000", f"127.0.0.1:{client.base_url.port}")


@pytest.mark.parametrize("example", [block for block in blocks("sh") if "curl" in block])
def test_curl_examples(client, folder, example):
    if "name=landscapes" in example:
        client.delete("/datasets/landscapes")
    elif "landscapes" in example:  # the data set that another example makes
        client.post("/datasets", files={"archive": zipped(unpaired())}, data={"name": "landscapes"})
    script = "set -e\n" + for_port(example, client).replace("curl ", "curl --fail-with-body --silent --show-error ")
    answer = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for name in re.findall(r"-o (\S+\.png)", example):
        assert decoded((folder / name).read_bytes()).ndim == 3


@pytest.mark.parametrize("example", blocks("python"))
def test_python_examples(client, folder, example):
    (folder / "example.py").write_text(for_port(example, client))
    answer = subprocess.run([sys.executable, "example.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert list(folder.glob("*.png"))


@pytest.mark.parametrize("example", [block for block in blocks("sh") if ".venv/bin/doppel" in block])
def test_command_line_examples(folder, example):
    script = "set -e\n" + example.replace(".venv/bin/doppel", f"{sys.executable} -m app.cli")
    answer = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "DOPPEL_WEIGHTS_DIR": str(ROOT / "weights")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


def test_the_file_map_names_every_file_and_no_other():
    """One line a file, kept true."""
    told = set(re.findall(r"^    (?:\S.*? )?([a-z0-9_/]+\.py)\b", README, re.MULTILINE))
    there = {
        path.relative_to(ROOT).as_posix()
        for package in ("app", "worker", "models", "bench")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert told == there


def test_the_table_of_models_names_every_model_that_ships():
    told = set(re.findall(r"^\| `([\w-]+)`", README, re.MULTILINE))
    assert {path.parent.name for path in (ROOT / "weights").glob("*/model.json")} <= told
