"""What the sender of webhooks does when Redis fails halfway, and when it has its hands full."""

import contextlib
import time
from types import SimpleNamespace

import pytest
import redis

from app import webhook_sender
from app.webhook_delivery import Outcome
from app.webhook_sender import Sending, WebhookSender
from app.webhook_signing import Secrets
from app.webhook_targets import Targets
from tests.processes import eventually
from worker.contract import HOOKS_DUE
from worker.errors import QueueUnreachable
from worker.meters import Meter
from worker.webhooks import Hook, Hooks


class EndedRuns:
    """All runs have ended, but for one that Redis does not tell of."""

    def view(self, run_id):
        if run_id == "untold":
            raise QueueUnreachable("Redis is away.")
        return SimpleNamespace(status=SimpleNamespace(ended=True), model_dump_json=lambda: "{}")


class KeepingCarrier:
    """Notes the paths that messages go to."""

    def __init__(self):
        self.got = []

    async def deliver(self, target, headers, body):
        self.got.append(target.path)
        return Outcome(True, True, "")

    def close(self):
        pass


@pytest.fixture
def connection(redis_url):
    return redis.Redis.from_url(redis_url)


@contextlib.contextmanager
def sending(connection, data_dir):
    """A sender at work; the paths that its messages went to."""
    carrier = KeepingCarrier()
    needs = Sending(Targets(http=False, private=[]), EndedRuns(), Meter(), Secrets(None, data_dir), "")
    sender = WebhookSender(connection, needs, carrier=carrier)
    sender.start()
    try:
        yield carrier.got
    finally:
        sender.stop()


def order(connection, *run_ids):
    hooks = [Hook(subject="run", id=run_id, url=f"https://example.org/{run_id}") for run_id in run_ids]
    for hook in hooks:
        Hooks(connection).order(hook)
    return hooks


def test_a_look_that_fails_halfway_blocks_no_host(connection, tmp_path, monkeypatch):
    monkeypatch.setattr(webhook_sender, "LOOK_S", 0.02)
    monkeypatch.setattr(webhook_sender, "LEASE_S", 0.1)
    ended = [str(number) for number in range(webhook_sender.MOST_PER_HOST + 1)]
    order(connection, *ended, "untold")
    with sending(connection, tmp_path) as got:
        eventually(lambda: {f"/{run}" for run in ended} <= set(got))


def test_a_sender_with_its_hands_full_waits_before_it_looks_again(connection, tmp_path, monkeypatch):
    for name, value in {"MOST_AT_ONCE": 0, "MOST_TAKEN": 1, "LOOK_S": 3600.0}.items():
        monkeypatch.setattr(webhook_sender, name, value)
    first, second = order(connection, "1", "2")
    soon = time.time() + 1000
    with sending(connection, tmp_path) as got:
        eventually(lambda: connection.zscore(HOOKS_DUE, first.message_id) > soon)
    assert connection.zscore(HOOKS_DUE, second.message_id) < soon
    assert not got
