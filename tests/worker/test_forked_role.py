"""Roles as forks: what such a process is, and how it ends."""

import subprocess
import sys

import psutil

from tests.processes import ROOT, eventually

# In a process of its own: forks want a parent with one thread.
PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from models.process import on_stop_signal
from worker.forked_role import ForkedRole

let_go = []
on_stop_signal(lambda: None)

def run(arguments):
    if arguments == ["sleeper"]:
        time.sleep(60)
    line = Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0 ").decode()
    print(line, sys.argv, os.environ["OWN"], let_go, os.getsid(0) == os.getpid(), flush=True)
    return 3

def start(*arguments):
    return ForkedRole(run, ["doppel", *arguments], env={"OWN": "set"}, let_go=lambda: let_go.append("listener"))

print(start("worker", "--listener", "5").wait(), let_go, "OWN" in os.environ)
sleeper = start("sleeper")
try:
    sleeper.wait(timeout=0.05)
except subprocess.TimeoutExpired:
    print(sleeper.poll())
sleeper.terminate()
print(sleeper.wait())
if len(sys.argv) > 1:
    print(start("sleeper").pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_fork_is_a_role_of_its_own_and_tells_how_it_ended():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "doppel worker --listener 5 ['doppel', 'worker', '--listener', '5'] set ['listener'] True",
        "3 [] False",
        "None",
        "-15",
    ]


def test_a_fork_dies_with_its_parent():
    done = subprocess.run([sys.executable, "-c", PROGRAM, "die"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    pid = int(done.stdout.splitlines()[-1])
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
