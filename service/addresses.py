"""Network addresses: whether others can reach the one we listen on, and which one a request comes from."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from starlette.types import Scope

from teddy.service.errors import SettingsError

if TYPE_CHECKING:
    from teddy.service.keys import Keys
    from teddy.service.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
MOST_HOPS = 16
"""Proxies that a request is followed through: a longer list was made up."""
LONGEST_ADDRESS = 64
REMEMBERED = 4096
"""Addresses that need not be parsed again: with proxies, half the cost of a short request otherwise goes there."""


def check_exposure(settings: "Settings", keys: "Keys") -> None:
    """Raise SettingsError if everybody on a network could use the service and nobody has said that they may."""
    if keys.required or settings.allow_anonymous or is_loopback(settings.host):
        return
    raise SettingsError(
        f"other machines can reach {settings.host or 'every address'}: set TEDDY_API_KEYS_FILE or TEDDY_API_KEYS, "
        "or TEDDY_ALLOW_ANONYMOUS=true to serve whoever calls"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than `localhost` may mean anything, so it is not."""
    if host.lower() == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def parse_networks(items: Iterable[str]) -> tuple[Network, ...]:
    """`TEDDY_TRUSTED_PROXIES`, parsed. Raises SettingsError."""
    return tuple(map(_parse_network, items))


def _parse_network(item: str) -> Network:
    try:
        return ip_network(item)
    except ValueError as error:
        raise SettingsError(f"TEDDY_TRUSTED_PROXIES: {error}") from error


def client_address(scope: Scope, trusted_proxies: tuple[Network, ...]) -> str:
    """Where a request comes from: the peer, or if that is a trusted proxy, whom it was working for.

    `X-Forwarded-For` is read from its end, where the nearest proxy writes, and only as far as trusted ones wrote it:
    what stands before is the client's own invention.
    """
    client = scope.get("client")
    peer: str = client[0] if client else UNKNOWN
    if not trusted_proxies:
        return peer
    farthest = parse_address(peer)
    if farthest is None:
        return peer
    for hop in _hops(scope):
        if not is_within(farthest, trusted_proxies):
            break
        address = parse_address(hop)
        if address is None:  # "unknown", or rubbish: the proxy is the last that is certain
            break
        farthest = address
    return str(farthest)


def _hops(scope: Scope) -> Iterator[str]:
    """Whom each proxy says it was working for, the nearest proxy's word first."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in reversed(b",".join(lines).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
        yield hop[:LONGEST_ADDRESS].decode("latin-1").strip()


@lru_cache(REMEMBERED)
def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address belongs to one of these networks."""
    return any(address in network for network in networks)


@lru_cache(REMEMBERED)
def parse_address(value: str) -> Address | None:
    """An IP address, also with a port after it; None for anything else. IPv4 in IPv6's clothes is IPv4."""
    if value.startswith("["):
        value = value[1:].partition("]")[0]
    elif value.count(":") == 1:
        value = value.partition(":")[0]
    try:
        address = ip_address(value)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
