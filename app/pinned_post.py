"""A POST that goes to given IP addresses, whatever the host's name may lead to by now."""

import ssl
from collections.abc import Iterable, Mapping, Sequence

import httpcore
import httpx

from app.webhook_targets import Target

CONNECT_S = 4.0  # for each address, of which a host may have several


def certificates() -> ssl.SSLContext:
    """How the certificates of hosts are checked."""
    return httpx.create_ssl_context()


async def post(
    target: Target, headers: Mapping[str, str], body: bytes, *, addresses: Sequence[str], verify: ssl.SSLContext | None
) -> int:
    """Send a request and return the status of the answer, of which nothing else is read.

    No redirection is followed, and no proxy is taken from the environment.

    Args:
        addresses: IP addresses of the host, which are tried in this order.
        verify: for https.

    Raises:
        ConnectionError: there is no answer, or none that is HTTP.
    """
    in_tls = target.host.rstrip(".")  # without the brackets of the address or its last dot, which certificates lack
    host = f"[{target.host}]" if ":" in target.host else target.host
    url = httpcore.URL(scheme=target.scheme.encode(), host=host.encode(), port=target.port, target=target.path.encode())
    try:
        async with (
            httpcore.AsyncConnectionPool(
                verify, max_connections=1, max_keepalive_connections=0, network_backend=_Pinned(addresses)
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=list(headers.items()),
                content=body,
                extensions={"sni_hostname": in_tls},
            ) as response,
        ):
            return response.status
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to given addresses.

    Above it, httpcore asks for the host's name in TLS and checks the certificate against it.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        last: Exception = httpcore.ConnectError("the name has no address")
        for address in self._addresses:
            try:
                return await self._backend.connect_tcp(address, port, CONNECT_S, None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)
