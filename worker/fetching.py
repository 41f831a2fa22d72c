"""Fetching the weights that somebody wanted, by a process for each model, so that nobody waits on the network."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from typing import cast

import redis

from models.errors import DoppelError
from models.installed import has_torch
from models.process import bound
from models.store.catalog import Catalog
from worker import contract
from worker.preparation_queue import PREPARER_SEEN_S, PreparationQueue

log = logging.getLogger("doppel.worker")


class Fetcher:
    """Starts the processes.

    Args:
        wanted: the set that names what is to be fetched.
    """

    def __init__(
        self, connection: redis.Redis, catalog: Catalog, weights_url: str | None, *, wanted: str = contract.WANTED
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._mirror = ["--mirror", weights_url] if weights_url else []
        self._wanted = wanted
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def fetch_wanted(self) -> None:
        """Start what is wanted and not under way, nor has failed a short while ago."""
        names = [encoded.decode() for encoded in cast(list[bytes], self._connection.spop(self._wanted, 100))]
        if names and self._wanted == contract.WANTED and self._left_to_preparers(names):
            return
        for name in names:
            running = self._processes.get(name)
            if running is not None and running.poll() is None:
                continue
            try:
                if self._catalog.get(name).availability != "not fetched":
                    continue
            except DoppelError as error:
                log.warning("%s", error)
                continue
            log.info("fetching the weights of %s", name)
            folders = [
                "--weights-dir",
                str(self._catalog.weights_dir),
                "--data-dir",
                str(self._catalog.models_dir.parent),
            ]
            command = [sys.executable, "-m", "models.weights.fetch", *folders, *self._mirror, name]
            self._processes[name] = subprocess.Popen(bound(command))

    def _left_to_preparers(self, names: Sequence[str]) -> bool:
        """Pass the names on if torch, which reads upstream's files, is at a preparer and not here."""
        if has_torch():
            return False
        preparers = PreparationQueue(self._connection).preparers(seen_within_s=PREPARER_SEEN_S)
        if not any(report.torch for report in preparers):
            return False
        self._connection.sadd(contract.WANTED_OF_PREPARERS, *names)
        return True
