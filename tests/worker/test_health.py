"""The health checks of the containers, as Docker runs them."""

import subprocess
import sys

import pytest

from tests.processes import environment, eventually, process


def healthy(role, settings):
    command = [sys.executable, "-m", "worker.health", role]
    return subprocess.run(command, env=environment(settings), capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("role", ["worker", "trainer", "preparer"])
def test_a_role_is_healthy_while_it_runs(role, settings, queue):
    others = {"worker", "trainer", "preparer"} - {role}
    assert not healthy(role, settings)
    env = environment(settings) | {"DOPPEL_PRELOAD": "tiny"}
    with process(sys.executable, "-m", "app.cli", role, env=env) as running:
        eventually(lambda: healthy(role, settings), every_s=2)
        assert not any(healthy(other, settings) for other in others)
        running.terminate()
        assert running.wait(timeout=60) == 0
    assert not healthy(role, settings)


@pytest.mark.parametrize("role", ["worker", "trainer", "preparer"])
def test_a_role_whose_redis_does_not_answer_is_not_healthy(role, settings, tmp_path):
    nowhere = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
    assert not healthy(role, nowhere)
