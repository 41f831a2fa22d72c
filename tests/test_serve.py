"""``doppel serve`` as its user meets it: one command, real processes, the weights that ship."""

import os
import re
import signal
import subprocess

import pytest

from app.serve_command import threads_of_each_worker
from app.settings import Settings
from tests.pictures import decoded
from tests.processes import ROOT, child, children, eventually, ready
from worker.process_memory import worker_memory_mb

SAMPLES = {"style_monet": "sample-photo.jpg", "monet2photo": "sample-painting.jpg"}


def role(served, name, killed=None):
    """The process of a role, once it is there and another than the one that was ``killed``."""
    supervisor, _, _ = served

    def found():
        process = child(supervisor.pid, name)
        return process if process != killed else None

    return eventually(found)


@pytest.mark.parametrize(("model", "sample"), SAMPLES.items())
def test_a_picture_is_translated_by_the_weights_that_ship(served, model, sample):
    _, client, _ = served
    photo = (ROOT / "docs" / "images" / sample).read_bytes()
    answer = client.post("/translate", files={"image": photo}, data={"model": model, "resolution": "128"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-model"] == f"{model}-lite"
    before = decoded(client.post("/translate", files={"image": photo}, data={"model": model}).content)
    height, width, _ = decoded(answer.content).shape
    assert min(height, width) == 128
    assert before.std() > 20  # a picture, not one flat colour


def test_the_line_that_it_prints_works_as_it_stands(served, tmp_path):
    _, _, output = served
    assert f"its data is in {output.parent}" in output.read_text()
    line = re.search(r"^ *(curl .*)$", output.read_text(), re.MULTILINE)[1]
    subprocess.run(line.replace("out.png", str(tmp_path / "out.png")), shell=True, check=True, cwd=tmp_path)
    assert decoded((tmp_path / "out.png").read_bytes()).ndim == 3


def test_each_role_is_a_process_that_says_what_it_is(served):
    for name in ("redis.sock", "doppel api", "doppel worker", "doppel preparer"):
        role(served, name)


@pytest.mark.parametrize("name", ["doppel worker", "doppel preparer", "doppel api", "redis.sock"])
def test_what_dies_is_started_again(served, name):
    _, client, _ = served
    killed = role(served, name)
    os.kill(killed, signal.SIGKILL)
    role(served, name, killed)
    eventually(lambda: ready(client))
    photo = (ROOT / "docs" / "images" / "sample-photo.jpg").read_bytes()
    answer = client.post("/translate", files={"image": photo}, data={"resolution": "64"})
    assert answer.status_code == 200, answer.text


def test_ctrl_c_stops_every_role(served):
    supervisor, _, _ = served
    pids = eventually(lambda: found if len(found := list(children(supervisor.pid))) == 7 else None)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(timeout=120) == 0
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        ({}, None),
        ({"workers": 2}, 4),
        ({"workers": 3}, 2),
        ({"workers": 20}, 1),
        ({"workers": 2, "worker_threads": 7}, 7),
    ],
)
def test_several_workers_divide_the_cores(settings, threads, monkeypatch):
    monkeypatch.setattr("app.serve_command.usable_cores", lambda: 8)
    assert threads_of_each_worker(Settings(**settings)) == threads


def test_several_workers_divide_the_memory(monkeypatch):
    monkeypatch.setattr("worker.process_memory.usable_memory_bytes", lambda: 10_000 << 20)
    assert [worker_memory_mb(workers) for workers in (1, 2, 100)] == [8000, 4000, 512]
