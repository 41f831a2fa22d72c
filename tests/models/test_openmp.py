"""How OpenMP's threads wait in every process that computes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

DOPPEL = [sys.executable, "-m", "app.cli"]
COMMANDS = {
    "worker": [*DOPPEL, "worker"],
    "translate": [*DOPPEL, "translate", "missing.png", "--model", "style_monet", "-o", "out.png"],
    "training": [sys.executable, "-m", "models.training", "missing"],
}


def _spins(command: list[str], **env: str) -> str:
    """How often a waiting thread looks before it sleeps, as GNU OpenMP reports it when torch loads it."""
    inherited = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    shown = {"OMP_DISPLAY_ENV": "VERBOSE", "DOPPEL_DEVICE": "cuda:99"}  # takes torch, and ends at once
    answer = subprocess.run(command, env=inherited | shown | env, capture_output=True, text=True, check=False)
    found = [line.split("'")[1] for line in answer.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not found and not list((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        pytest.skip("torch comes with another OpenMP than GNU's here")
    return found[0]


@pytest.mark.parametrize("role", COMMANDS)
def test_waiting_threads_do_not_spin(role, redis_url):
    assert _spins(COMMANDS[role], DOPPEL_REDIS_URL=redis_url) == "0"  # without Redis a worker loads no torch


def test_the_operator_may_let_them_spin():
    assert int(_spins(COMMANDS["training"], OMP_WAIT_POLICY="ACTIVE")) > 0
