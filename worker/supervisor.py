"""All roles on one machine: starts them, starts again what dies, stops them in order."""

import logging
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.errors import DoppelError
from models.process import bound, on_stop_signal
from models.training.launch import STOP_TIMEOUT_S as TRAINING_STOP_TIMEOUT_S
from worker.connection import connect
from worker.embedded_redis import EmbeddedRedis
from worker.inference_worker import worker_name
from worker.janitor import Janitor
from worker.preparation_worker import preparer_name
from worker.training_process import trainer_name

POLL_S = 0.05
FIRST_PAUSE_S = 0.1  # before a dead role is started again; doubled at each death, up to
LONGEST_PAUSE_S = 10.0
STEADY_S = 30.0  # a role that lived so long is not held to have died at start
STOP_TIMEOUT_S = 30.0

# Kind of role → the name under which RQ knows such a process.
WORKER_NAMES = {"worker": worker_name, "trainer": trainer_name, "preparer": preparer_name}

log = logging.getLogger("doppel.supervisor")


def role_command(role: str) -> list[str]:
    """The command line of ``doppel ROLE``, which is also what a list of processes shows."""
    script = os.path.join(sysconfig.get_path("scripts"), "doppel")
    if os.path.exists(script):
        return [script, role]
    return [sys.executable, "-m", "app.cli", role]  # installed by a tool that puts scripts elsewhere


@dataclass
class _Role:
    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause_s: float = field(default=FIRST_PAUSE_S)


class Supervisor:
    """Runs ``commands`` (role name → command line) and, if there is one, an embedded Redis before them.

    Args:
        env: the environment of every role.
        redis_url: where the roles' Redis is, to give back at once what a dead worker held.
        listener: a socket that the processes of the API inherit, under its number here.
    """

    def __init__(
        self,
        commands: dict[str, list[str]],
        *,
        env: dict[str, str],
        redis_url: str,
        embedded: EmbeddedRedis | None,
        listener: socket.socket | None = None,
    ) -> None:
        self._env = env
        self._listener = listener
        self._embedded = embedded
        self._janitor = Janitor(connect(redis_url, patience_s=1))
        self._roles = [_Role(name, self._starter(name, command)) for name, command in commands.items()]
        if embedded is not None:
            self._roles.insert(0, _Role("redis", embedded.start))
        self._stop = threading.Event()

    def _starter(self, name: str, command: list[str]) -> Callable[[], subprocess.Popen[bytes]]:
        # A session of its own keeps Ctrl-C from reaching a role before its turn to stop.
        inherited = [self._listener.fileno()] if self._listener is not None and name.startswith("api") else []
        return lambda: subprocess.Popen(bound(command), env=self._env, start_new_session=True, pass_fds=inherited)

    def run(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Keep the roles running until SIGINT, SIGTERM or SIGHUP, then stop them: workers finish their batch.

        Args:
            on_started: called once, in a thread of its own, when every role has been started.
        """
        on_stop_signal(self._stop.set)
        try:
            for role in self._roles:
                self._start(role)
            threading.Thread(target=on_started, daemon=True).start()
            while not self._stop.wait(POLL_S):
                for role in self._roles:
                    self._look_after(role)
        finally:
            self._shut_down()

    def _start(self, role: _Role) -> None:
        role.process = role.start()
        role.started_at = time.monotonic()

    def _start_again(self, role: _Role) -> None:
        try:
            self._start(role)
        except (OSError, DoppelError) as error:
            role.pause_s = min(2 * role.pause_s, LONGEST_PAUSE_S)
            role.start_again_at = time.monotonic() + role.pause_s
            log.error("%s could not be started again: %s", role.name, error)

    def _look_after(self, role: _Role) -> None:
        now = time.monotonic()
        if role.process is None:
            if now >= role.start_again_at:
                self._start_again(role)
            return
        code = role.process.poll()
        if code is None:
            return
        log.warning("%s (process %d) ended with %d; it is started again", role.name, role.process.pid, code)
        role.pause_s = FIRST_PAUSE_S if now - role.started_at > STEADY_S else min(2 * role.pause_s, LONGEST_PAUSE_S)
        role.start_again_at = now + role.pause_s
        for kind, name_of in WORKER_NAMES.items():
            if role.name.startswith(kind):
                self._recover(name_of(role.process.pid))
        role.process = None

    def _recover(self, name: str) -> None:
        try:
            held = self._janitor.recover(name)
            log.warning("the dead worker held %d jobs", held)
        except Exception as error:  # the leases run out in a few seconds anyway
            log.warning("could not give back the dead worker's jobs: %s", error)

    def _shut_down(self) -> None:
        """Stop the API, which still needs workers for what it has accepted, then the workers, then Redis."""
        running = [role for role in self._roles if role.process is not None and role.name != "redis"]
        if self._listener is not None:  # or clients would wait for an answer until this process ends
            self._listener.close()
        self._end([role for role in running if role.name.startswith("api")])
        self._end([role for role in running if not role.name.startswith("api")])
        if self._embedded is not None:
            self._embedded.stop()

    @staticmethod
    def _end(roles: Sequence[_Role]) -> None:
        """Ask the roles to end, and kill those that take longer than they may."""
        begun = time.monotonic()
        alive = [(role, role.process) for role in roles if role.process is not None and role.process.poll() is None]
        for _, process in alive:
            process.terminate()
        for role, process in alive:
            timeout_s = TRAINING_STOP_TIMEOUT_S if role.name.startswith("trainer") else STOP_TIMEOUT_S
            try:
                process.wait(timeout=max(0.1, begun + timeout_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
