"""Where webhooks may go: which addresses a client may name, and which of the machines behind them are connected to.

A client that names an address makes this server send a request, from inside its network. So only public machines are
reached, unless the operator allows others, and that is decided by the IP addresses that a name has at the moment of the
connection, which goes to one of exactly these.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from models.errors import Invalid

MAX_URL = 1000  # characters
LOW_PORTS = (80, 443)  # below 1024, where mail servers and the like listen, no others are reached

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_VISIBLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")  # an IPv4 address behind NAT64 (RFC 6052)
_TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # 6to4 and Teredo lead to IPv4 addresses


FIELD = (  # for the documentation of the field
    "an https:// address to which the {what} is sent, as `GET {call}` shows it, when it has ended; see docs/webhooks.md"
)


@dataclass(frozen=True)
class Target:
    """An address that a webhook may name, in parts."""

    scheme: str
    host: str  # in small letters; of an IPv6 address without brackets
    port: int
    path: str  # and the query


class Targets:
    """The rules.

    Args:
        http: whether http:// is accepted beside https://.
        private: hosts, as ``receiver`` or ``*.example.org``, and networks that may be reached although they are not
            public.
    """

    def __init__(self, *, http: bool, private: Iterable[str]) -> None:
        self._schemes = ("https", "http") if http else ("https",)
        self._hosts: list[str] = []
        self._networks: list[Network] = []
        for entry in private:
            match network_of(entry):
                case None:
                    self._hosts.append(entry)
                case network:
                    self._networks.append(network)

    def parse(self, url: str) -> Target:
        """Take an address apart.

        Raises:
            Invalid: it is none, or one that is never reached. Of a name that is decided later, since the answer would
                tell which names there are in this server's network.
        """
        if len(url) > MAX_URL or not _VISIBLE.fullmatch(url) or "\\" in url:
            raise Invalid(f"webhook: an address of at most {MAX_URL} visible ASCII characters is accepted.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Invalid(f"webhook: this is no address: {error}.") from error
        if parts.scheme not in self._schemes or not parts.netloc:
            begin = " or ".join(f"{scheme}://" for scheme in self._schemes)
            raise Invalid(f"webhook: an address that begins with {begin} is accepted.")
        if "@" in parts.netloc or "#" in url:
            raise Invalid("webhook: an address without a user, a password and a fragment (#) is accepted.")
        port = (443 if parts.scheme == "https" else 80) if port is None else port
        if port < 1024 and port not in LOW_PORTS:
            raise Invalid(
                f"webhook: port {port} is not accepted; {LOW_PORTS[0]}, {LOW_PORTS[1]} and those from 1024 are."
            )
        host = (parts.hostname or "").lower()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._check_host(host)
        return Target(parts.scheme, host, port, path)

    def _check_host(self, host: str) -> None:
        if "%" in host:  # an IPv6 address with a zone, which is a network interface of this machine
            raise Invalid("webhook: an IPv6 address without a zone (%) is accepted.")
        try:
            address = ip_address(host)
        except ValueError:
            name = host.rstrip(".")
            if not _NAME.fullmatch(host) or len(name) > 253:
                raise Invalid("webhook: the address names no host.") from None
            if _NUMBER.fullmatch(name.rpartition(".")[2]):  # 2130706433 or 0177.0.0.1, which systems take for addresses
                raise Invalid("webhook: an IPv4 address is written as four decimal numbers.") from None
            if not self._is_listed(name) and ("." not in name or name.endswith(".localhost")):
                raise Invalid("webhook: only hosts that can be reached from the internet are accepted.") from None
        else:
            if not self.permits(host, address):
                raise Invalid("webhook: only public addresses are accepted.")

    def permits(self, host: str, address: Address) -> bool:
        """Whether the machine at this IP address, which ``host`` has been resolved to, may be connected to."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        listed = any(address in network for network in self._networks)
        return listed or self._is_listed(host.rstrip(".")) or is_public(address)

    def _is_listed(self, host: str) -> bool:
        return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in self._hosts)


def is_public(address: Address) -> bool:
    """Whether an IP address belongs to a machine on the internet."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if address in _TRANSLATED:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    tunnelled = any(address in network for network in _TUNNELS)
    return address in _GLOBAL_UNICAST and address.is_global and not tunnelled


def network_of(entry: str) -> Network | None:
    """The network that an entry of a list names, which may be one address; None if it is a host's name."""
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def resolved(answers: Sequence[tuple[object, ...]]) -> list[Address]:
    """The addresses in what ``socket.getaddrinfo`` answers, each once, in their order."""
    found = [ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]  # type: ignore[index]
    return list(dict.fromkeys(found))
