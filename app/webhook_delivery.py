"""One delivery of a webhook: resolve the host's name, check its addresses, and send to what was checked."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.webhook_targets import Target, Targets, resolved

DELIVERY_S = 10.0  # for all of it
MOST_ADDRESSES = 3  # that are tried
MOST_LOOKUPS = 16  # names that are resolved at once
GONE = 410  # the receiver wants no more of it; after any other status the next attempt may be better


@dataclass(frozen=True)
class Outcome:
    """How a delivery went."""

    delivered: bool
    final: bool  # whether another attempt would end in the same way
    why: str  # for the log


class _Refused(Exception):
    """The host has an address that may not be connected to."""


class Carrier:
    """Carries messages to receivers, for one event loop.

    Args:
        verify: how receivers' certificates are checked; None: as httpx does.
    """

    def __init__(self, targets: Targets, *, verify: ssl.SSLContext | None = None) -> None:
        self._targets = targets
        self._verify = verify
        # Apart from other threads: a name server that does not answer holds up names alone.
        self._resolver = ThreadPoolExecutor(MOST_LOOKUPS, thread_name_prefix="webhook-names")

    def close(self) -> None:
        """Resolve nothing more."""
        self._resolver.shutdown(wait=False, cancel_futures=True)

    async def deliver(self, target: Target, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send a message. It counts as delivered if the receiver answers with a status from 200 to 299 in time."""
        from app import pinned_post  # it takes 0.2 s to load, and most servers never need it

        if self._verify is None and target.scheme == "https":
            self._verify = pinned_post.certificates()
        send = functools.partial(pinned_post.post, target, headers, body, verify=self._verify)
        try:
            async with asyncio.timeout(DELIVERY_S):
                status = await send(addresses=await self._addresses(target))
        except TimeoutError:
            return Outcome(False, False, f"no answer within {DELIVERY_S:g} s")
        except _Refused as error:
            return Outcome(False, True, str(error))
        except OSError as error:
            return Outcome(False, False, str(error))
        if 300 <= status < 400:
            return Outcome(False, True, f"it answered {status}, and redirections are not followed")
        return Outcome(200 <= status < 300, status == GONE, f"it answered {status}")

    async def _addresses(self, target: Target) -> list[str]:
        """The IP addresses of the host, all of which may be connected to.

        Raises:
            _Refused: one may not.
            OSError: it has none.
        """
        look_up = functools.partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
        addresses = resolved(await asyncio.get_running_loop().run_in_executor(self._resolver, look_up))
        if not all(self._targets.permits(target.host, address) for address in addresses):
            raise _Refused("its address is not public")
        return [str(address) for address in addresses[:MOST_ADDRESSES]]
