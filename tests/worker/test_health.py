"""The health checks of the containers, as Docker runs them."""

import subprocess
import sys

import pytest

from tests.processes import environment, eventually, fake_worker, process
from worker import health

ROLES = ["worker", "trainer", "preparer"]


@pytest.fixture
def healthy(settings, monkeypatch):
    """Whether a role is, by the check in this process."""
    monkeypatch.setenv("DOPPEL_REDIS_URL", settings.redis_url)
    return lambda role: health.main(role) == 0


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_healthy_while_it_runs(role, settings, queue, healthy):
    assert not healthy(role)
    env = environment(settings) | {"DOPPEL_PRELOAD": "tiny"}
    with process(sys.executable, "-m", "app.cli", role, env=env) as running:
        eventually(lambda: healthy(role))
        assert [other for other in ROLES if healthy(other)] == [role]
        running.terminate()
        assert running.wait(timeout=60) == 0
    assert not healthy(role)


def test_the_check_is_a_program(settings, redis_url):
    """As Docker runs it."""
    command = [sys.executable, "-m", "worker.health", "worker"]
    answers = [subprocess.run(command, env=environment(settings), capture_output=True, check=False)]
    with fake_worker(redis_url):
        answers.append(subprocess.run(command, env=environment(settings), capture_output=True, check=False))
    assert [answer.returncode for answer in answers] == [1, 0]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_whose_redis_does_not_answer_is_not_healthy(role, healthy, tmp_path, monkeypatch):
    monkeypatch.setenv("DOPPEL_REDIS_URL", f"unix://{tmp_path}/none.sock")
    assert not healthy(role)
