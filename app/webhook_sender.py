"""The thread of an API process that delivers webhooks, with an event loop of its own.

All processes do so; a hook that one has taken comes to another only if the first does not return it in time. Requests
never wait for this, and no receiver waits for another: one that is slow gets its messages as fast as it takes them.
"""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis

from app.addresses import use_root_path
from app.run_views import UNREADABLE
from app.schemas import Job
from app.training_runs import Runs
from app.webhook_delivery import DELIVERY_S, Carrier, Outcome
from app.webhook_signing import Secrets, signed_headers
from app.webhook_targets import Targets
from models.errors import DoppelError, Invalid
from worker import meters
from worker.errors import QueueError
from worker.inference_queue import InferenceQueue
from worker.meters import Meter
from worker.webhooks import MOST_WAITING, Hook, Hooks

LOOK_S = 0.5  # between two looks for hooks that are due
MOST_TAKEN = 100  # at once
LEASE_S = DELIVERY_S + 5.0  # after which a hook is due again whose sender died
MOST_AT_ONCE = 32  # deliveries of one process
MOST_PER_HOST = 2
LAST_S = 2.0  # that deliveries under way are given when the process ends

MOST_ATTEMPTS = 8
FIRST_RETRY_S, RETRY_FACTOR, LONGEST_RETRY_S = 2.0, 4.0, 3600.0  # about two hours in all
LONGEST_WAIT_S = 3600.0  # that a message waits for others to the same host

log = logging.getLogger("doppel.app")


def retry_after_s(failed: int) -> float:
    """How long to wait after this many failed attempts: each time four times as long, less up to half at random."""
    return min(FIRST_RETRY_S * RETRY_FACTOR ** (failed - 1), LONGEST_RETRY_S) * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Sending:
    """What the sender needs beside Redis."""

    targets: Targets
    runs: Runs
    meter: Meter
    secrets: Secrets
    root_path: str  # under which the API is published


class WebhookSender:
    """Delivers hooks while it runs.

    Args:
        connection: for this thread alone.
        retry: :func:`retry_after_s`, or for tests a quicker one.
        carrier: None: one with these targets.
    """

    def __init__(
        self,
        connection: redis.Redis,
        sending: Sending,
        *,
        retry: Callable[[int], float] = retry_after_s,
        carrier: Carrier | None = None,
    ) -> None:
        self._hooks = Hooks(connection)
        self._queue = InferenceQueue(connection)
        self._sending = sending
        self._retry = retry
        self._carrier = carrier or Carrier(sending.targets)
        self._paces = HostPaces()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="webhooks")

    def start(self) -> None:
        """Deliver from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more deliveries, and wait a moment for those under way."""
        self._stop.set()
        self._thread.join(timeout=LAST_S + 3)

    def _run(self) -> None:
        use_root_path(self._sending.root_path)
        asyncio.run(self._deliver_all())

    async def _deliver_all(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        away = False
        while not self._stop.is_set():
            ready: list[tuple[Hook, bytes]] = []
            taken = 0
            try:
                taken = await asyncio.to_thread(self._look, MOST_AT_ONCE - len(under_way), ready)
                away = False
            except (redis.RedisError, QueueError) as error:
                log.log(logging.DEBUG if away else logging.WARNING, "webhooks wait: %s", error)
                away = True
            except Exception:  # the next look must come whatever this was
                log.exception("webhooks could not be looked at")
            for hook, body in ready:
                task = asyncio.create_task(self._deliver(hook, body))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            if taken < MOST_TAKEN or len(under_way) >= MOST_AT_ONCE:
                await asyncio.to_thread(self._stop.wait, LOOK_S)
        if under_way:
            await asyncio.wait(under_way, timeout=LAST_S)
        self._carrier.close()

    def _look(self, free: int, ready: list[tuple[Hook, bytes]]) -> int:
        """Take the hooks that are due.

        Args:
            free: how many deliveries may begin.
            ready: to which those to deliver now are added, with their messages, also if this raises an error later:
                their hosts count them already.

        Returns:
            How many were taken. Those that are not ready are put off.
        """
        hooks = self._hooks.take(at_most=MOST_TAKEN, lease_s=LEASE_S)
        for hook, found in zip(hooks, self._looked_up(hooks), strict=True):
            match found:
                case float():
                    self._hooks.put_off(hook, found)
                case None:
                    self._give_up(hook, Outcome(False, True, f"the {hook.subject} {hook.id} is gone"), "expired")
                case _ if len(ready) >= free:
                    self._hooks.put_off(hook, LOOK_S)
                case body:
                    wait_s = self._paces.begin(_host(hook))
                    if not wait_s:
                        ready.append((hook, body))
                    elif wait_s > LONGEST_WAIT_S:
                        self._give_up(hook, Outcome(False, True, "too many wait for this host"), "given_up")
                    else:
                        self._hooks.put_off(hook, wait_s)
        return len(hooks)

    def _looked_up(self, hooks: list[Hook]) -> Iterator[bytes | float | None]:
        """For each hook its message; how many seconds to wait for it; or None if there will be none."""
        jobs = iter(self._queue.states([hook.id for hook in hooks if hook.subject == "job"]))
        for hook in hooks:
            if hook.subject == "run":
                yield self._run_message(hook)
                continue
            state = next(jobs)
            if state is None:
                yield None
            elif state.status.ended:
                yield Job.of(state).model_dump_json().encode()
            else:
                yield _patience(time.time() - state.created_at.timestamp())

    def _run_message(self, hook: Hook) -> bytes | float | None:
        try:
            run = self._sending.runs.view(hook.id)
        except UNREADABLE:
            return None
        if run.status.ended:
            return run.model_dump_json().encode()
        return _patience(time.time() - run.created_at.timestamp())

    async def _deliver(self, hook: Hook, body: bytes) -> None:
        began = time.monotonic()
        try:
            target = self._sending.targets.parse(hook.url)
            headers = signed_headers(self._sending.secrets.of(hook.owner), hook.message_id, int(time.time()), body)
            headers |= {"Content-Type": "application/json", "User-Agent": "Doppel"}
            outcome = await self._carrier.deliver(target, headers, body)
        except Invalid as error:  # the operator's settings are others now
            outcome = Outcome(False, True, str(error))
        except (DoppelError, OSError) as error:  # the secret can't be read
            outcome = Outcome(False, False, str(error))
        except Exception as error:
            log.exception("a webhook could not be sent")
            outcome = Outcome(False, False, type(error).__name__)
        finally:
            self._paces.end(_host(hook), time.monotonic() - began)
        with contextlib.suppress(redis.RedisError):  # it is due again when its lease ends
            await asyncio.to_thread(self._conclude, hook, outcome)

    def _conclude(self, hook: Hook, outcome: Outcome) -> None:
        """Write how a delivery went."""
        if outcome.delivered:
            self._sending.meter.count(meters.WEBHOOKS, "delivered")
            self._hooks.remove(hook)
        elif outcome.final:
            self._give_up(hook, outcome, "refused")
        elif hook.attempts + 1 >= MOST_ATTEMPTS or self._hooks.waiting() > MOST_WAITING:
            self._give_up(hook, outcome, "given_up")
        else:
            wait_s = self._retry(hook.attempts + 1)
            log.warning("the webhook of %s failed: %s; it is sent again in %.0f s", _named(hook), outcome.why, wait_s)
            self._sending.meter.count(meters.WEBHOOKS, "failed")
            self._hooks.try_again(hook, wait_s)

    def _give_up(self, hook: Hook, outcome: Outcome, label: str) -> None:
        log.error("the webhook of %s is given up: %s", _named(hook), outcome.why)
        self._sending.meter.count(meters.WEBHOOKS, label)
        self._hooks.remove(hook)


def _patience(age_s: float) -> float:
    """How long to leave a job alone that has not ended: the longer, the longer it takes already."""
    return min(5.0, max(0.25, age_s / 10))


def _host(hook: Hook) -> str:
    return (urlsplit(hook.url).hostname or "").rstrip(".")


def _named(hook: Hook) -> str:
    """A hook for the log, without its path and query, which may be secrets."""
    return f"{hook.subject} {hook.id} to {_host(hook)} (attempt {hook.attempts + 1})"


class HostPaces:
    """How fast each host takes its messages. Those that come faster are spread over the time that they will take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = Tally[str]()
        self._seconds: dict[str, float] = {}  # that a delivery takes
        self._next: dict[str, float] = {}  # when the next one has its turn, by the monotonic clock

    def begin(self, host: str) -> float:
        """Count a delivery that begins, if it may: 0. Else the seconds after which to ask again."""
        with self._lock:
            if self._busy[host] < MOST_PER_HOST:
                self._busy[host] += 1
                return 0.0
            now = time.monotonic()
            turn = max(now, self._next.get(host, now)) + self._seconds.get(host, 0.5) / MOST_PER_HOST
            self._next[host] = turn
            return turn - now

    def end(self, host: str, seconds: float) -> None:
        """Note that a delivery has ended, and what it took."""
        with self._lock:
            self._busy[host] -= 1
            self._seconds[host] = max(0.05, seconds)
            if not self._busy[host] and self._next.get(host, 0.0) < time.monotonic():
                for known in (self._busy, self._seconds, self._next):
                    known.pop(host, None)
