"""Who sends a request: the name of its API key, what that key may do, and what its holder may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Request

from worker.allowances import Allowance

_KEY = "doppel.caller"  # in the ASGI scope


class Scope(StrEnum):
    """What an API key is good for."""

    TRANSLATE = "translate"  # order pictures, and read the models
    TRAIN = "train"  # data sets, training runs, and models of one's own
    MONITOR = "monitor"  # read the figures of the whole server
    ADMIN = "admin"  # everything, and what other keys made


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Attributes:
        name: of the API key; None on a server that has none.
        most_jobs: that may be in hand at a time; None: any number.
        most_runs: training runs that may wait or run; None: any number.
    """

    name: str | None
    scopes: frozenset[Scope]
    most_jobs: int | None = None
    most_runs: int | None = None

    @property
    def job_allowance(self) -> Allowance | None:
        """Of jobs in hand; None: as many as there is room for."""
        return None if self.most_jobs is None else Allowance.of_jobs(str(self.name), self.most_jobs)

    @property
    def run_allowance(self) -> Allowance | None:
        """Of training runs in hand; None: as many as there is room for."""
        return None if self.most_runs is None else Allowance.of_runs(str(self.name), self.most_runs)

    def may(self, scope: Scope) -> bool:
        """Whether the key has this scope, or the one that has them all."""
        return scope in self.scopes or self.is_admin

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def sees(self, owner: str | None) -> bool:
        """Whether what was made with the key ``owner`` exists for this caller. None: it was made without a key."""
        return owner == self.name or self.is_admin


ANONYMOUS = Caller(None, frozenset(Scope))
NOBODY = Caller("", frozenset())  # who sends no key, to a call that asks for none, on a server that has keys


def identify(scope: Any, caller: Caller) -> None:
    """Note in the ASGI scope of a request who sends it; copies of the scope share it."""
    scope[_KEY] = caller


def caller_in(scope: Mapping[str, Any]) -> Caller:
    """The sender of the request of this ASGI scope. On a server that has no keys everyone is ``ANONYMOUS``."""
    caller: Caller = scope.get(_KEY, ANONYMOUS)
    return caller


def caller_of(request: Request) -> Caller:
    """The sender of a request."""
    return caller_in(request.scope)
