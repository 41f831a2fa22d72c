"""How often the holders of API keys order or change something: counted in Redis, so for all API processes together."""

import math
from dataclasses import dataclass

from redis.exceptions import NoScriptError, OutOfMemoryError

from worker import contract
from worker.errors import LimitReached
from worker.inference_queue import translating_errors
from worker.shared_connection import SharedConnection
from worker.stored_script import Script


@dataclass(frozen=True)
class Rate:
    """How many requests are accepted.

    Attributes:
        count: within ``period_s`` on average.
        burst: at once, after a pause that was long enough.
    """

    count: int
    period_s: int
    burst: int


# The generic cell rate algorithm: the key holds the moment at which all that was accepted is paid for, in microseconds.
# A request is accepted if that, with its own share, is not further ahead than a burst.
_TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local share, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local paid = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + share
local early = paid - now - burst * share
if early > 0 then return math.ceil(early) end
redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000))
return 0
""")


class Rates:
    """Counts requests by the names of API keys.

    Args:
        shared: the connection of all requests.
    """

    def __init__(self, shared: SharedConnection) -> None:
        self._shared = shared

    async def take(self, name: str, rate: Rate) -> None:
        """Count a request of the key ``name``.

        Raises:
            LimitReached: it comes too early, and does not count. ``retry_after_s`` says when one would be accepted.
            QueueUnreachable: Redis does not answer.
        """
        keys, share_us = [contract.RATES + name], round(1e6 * rate.period_s / rate.count)
        with translating_errors():
            try:
                early_us = await self._run(keys, share_us, rate.burst)
            except OutOfMemoryError:  # nothing that takes memory is accepted now, and reading must go on
                return
        if early_us:
            each = "second" if rate.period_s == 1 else "minute"
            raise LimitReached(
                f"This API key may send {rate.count} orders or changes a {each}, {rate.burst} at once.",
                retry_after_s=math.ceil(early_us / 1e6),
            )

    async def _run(self, keys: list[str], share_us: int, burst: int) -> int:
        for by_hash in (True, False):
            try:
                [early_us] = await self._shared.execute(_TAKE.call(keys, (share_us, burst), by_hash=by_hash))
                break
            except NoScriptError:  # Redis never saw it, or was started since
                if not by_hash:
                    raise
        assert isinstance(early_us, int)
        return early_us
