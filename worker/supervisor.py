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
from dataclasses import dataclass
from functools import partial

from models.errors import DoppelError
from models.process import on_stop_signal
from models.training.launch import STOP_TIMEOUT_S as TRAINING_STOP_TIMEOUT_S
from worker.connection import connect
from worker.embedded_redis import EmbeddedRedis
from worker.forked_role import ForkedRole
from worker.inference_worker import worker_name
from worker.janitor import Janitor
from worker.preparation_worker import preparer_name
from worker.training_process import trainer_name

POLL_S = 0.02
STEADY_S = 3.0  # a role that lived so long is started again at once; one that died sooner
FIRST_PAUSE_S = 0.1  # after this pause, which doubles each time, up to
LONGEST_PAUSE_S = 10.0
STOP_TIMEOUT_S = 30.0
RECOVERY_PATIENCE_S = 0.5  # with a sweep that goes on; no other role is looked after meanwhile

# Kind of role → the name under which RQ knows such a process.
WORKER_NAMES = {"worker": worker_name, "trainer": trainer_name, "preparer": preparer_name}

log = logging.getLogger("doppel.supervisor")


def role_command(*arguments: str) -> list[str]:
    """The command line of ``doppel ARGUMENTS``, which is also what a list of processes shows."""
    script = os.path.join(sysconfig.get_path("scripts"), "doppel")
    if os.path.exists(script):
        return [script, *arguments]
    return [sys.executable, "-m", "app.cli", *arguments]  # installed by a tool that puts scripts elsewhere


RoleProcess = subprocess.Popen[bytes] | ForkedRole


@dataclass
class _Role:
    name: str
    start: Callable[[], RoleProcess]
    process: RoleProcess | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause_s: float = 0.0  # before its next start


class Supervisor:
    """Runs roles (name → arguments of ``doppel``) and, if there is one, an embedded Redis before them.

    On Linux roles are forks of this process, which therefore starts no threads. Elsewhere, where forks are not safe,
    each is a program of its own.

    Args:
        env: the environment of every role.
        redis_url: where the roles' Redis is, to give back at once what a dead worker held.
        run_role: runs a role in a fork by these arguments, and returns the exit status.
        listener: a socket that the processes of the API inherit, under its number here.
    """

    def __init__(
        self,
        roles: dict[str, list[str]],
        *,
        env: dict[str, str],
        redis_url: str,
        embedded: EmbeddedRedis | None,
        run_role: Callable[[list[str]], int],
        listener: socket.socket | None = None,
    ) -> None:
        self._env = env
        self._listener = listener
        self._embedded = embedded
        self._run_role = run_role
        self._janitor = Janitor(connect(redis_url, patience_s=1))
        self._roles = [_Role(name, self._starter(name, arguments)) for name, arguments in roles.items()]
        if embedded is not None:
            self._roles.insert(0, _Role("redis", embedded.start))
        self._stop = threading.Event()
        self._aside: ForkedRole | None = None  # what is called when all have been started, until it has returned

    def _starter(self, name: str, arguments: list[str]) -> Callable[[], RoleProcess]:
        listens = self._listener is not None and name.startswith("api")
        if sys.platform == "linux":
            return lambda: self._forked(self._run_role, arguments, keep_listener=listens)
        command = role_command(*arguments)
        inherited = [self._listener.fileno()] if self._listener is not None and listens else []
        # A session of its own keeps Ctrl-C from reaching a role before its turn to stop.
        return lambda: subprocess.Popen(command, env=self._env, start_new_session=True, pass_fds=inherited)

    def _forked(
        self, run: Callable[[list[str]], int], arguments: list[str], *, keep_listener: bool = False
    ) -> ForkedRole:
        let_go = partial(self._let_go, keep_listener=keep_listener)
        return ForkedRole(run, ["doppel", *arguments], env=self._env, let_go=let_go)

    def _let_go(self, *, keep_listener: bool) -> None:
        """In a fork, close what belongs to this process."""
        self._janitor.connection.connection_pool.reset()
        if self._embedded is not None:
            self._embedded.let_go()
        if self._listener is not None and not keep_listener:
            self._listener.close()

    def run(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Keep the roles running until SIGINT, SIGTERM or SIGHUP, then stop them: workers finish their batch.

        Args:
            on_started: called once, in a process or thread of its own, when every role has been started.
        """
        on_stop_signal(self._stop.set)
        try:
            for role in self._roles:
                self._start(role)
            self._call_aside(on_started)
            while not self._stop.wait(POLL_S):
                for role in self._roles:
                    self._look_after(role)
                if self._aside is not None and self._aside.poll() is not None:
                    self._aside = None
        finally:
            self._shut_down()

    def _call_aside(self, function: Callable[[], None]) -> None:
        if sys.platform != "linux":
            threading.Thread(target=function, daemon=True).start()
            return

        def call(_: list[str]) -> int:
            function()
            return 0

        self._aside = self._forked(call, [])

    def _start(self, role: _Role) -> None:
        role.process = role.start()
        role.started_at = time.monotonic()

    def _start_again(self, role: _Role) -> None:
        try:
            self._start(role)
        except (OSError, DoppelError) as error:
            self._pause(role)
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
        dead = role.process
        log.warning("%s (process %d) ended with %d; it is started again", role.name, dead.pid, code)
        role.process = None
        if now - role.started_at > STEADY_S:
            role.pause_s = 0.0
            self._start_again(role)
        else:
            self._pause(role)
        for kind, name_of in WORKER_NAMES.items():
            if role.name.startswith(kind):
                self._recover(name_of(dead.pid))

    @staticmethod
    def _pause(role: _Role) -> None:
        role.pause_s = min(max(FIRST_PAUSE_S, 2 * role.pause_s), LONGEST_PAUSE_S)
        role.start_again_at = time.monotonic() + role.pause_s

    def _recover(self, name: str) -> None:
        try:
            held = self._janitor.recover(name, patience_s=RECOVERY_PATIENCE_S)
            log.warning("the dead worker held %d jobs", held)
        except Exception as error:  # the leases run out in a few seconds anyway
            log.warning("could not give back the dead worker's jobs: %s", error)

    def _shut_down(self) -> None:
        """Stop the API, which still needs workers for what it has accepted, then the workers, then Redis."""
        running = [role for role in self._roles if role.process is not None and role.name != "redis"]
        if self._listener is not None:  # or clients would wait for an answer until this process ends
            self._listener.close()
        if self._aside is not None:
            self._aside.kill()
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
